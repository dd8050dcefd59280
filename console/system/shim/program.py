"""The shim's program: `python -I -S program.py ROLE SPEC STATUS LEASE START`; see `main`.

Python compiles a script at each start, and a module once.
"""

import sys

if __name__ == "__main__":
    sys.path.append(
        __file__.rpartition("/console/")[0]
    )  # with -I -S only the standard library is found

    from console.system.shim.main import main

    main()
