"""The shim's script: `python -I -S program.py ROLE SPEC STATUS LEASE START`; see `main`.

It only imports `main`, because Python compiles a script at each start, but a module only once.
"""

import sys

if __name__ == "__main__":
    # With -I -S, only the standard library is in the import path.
    sys.path.append(__file__.rpartition("/console/")[0])

    from console.system.shim.main import main

    main()
