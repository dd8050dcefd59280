"""The shim's program: `python -I -S shim.py ROLE SPEC STATUS LEASE`. Everything is in `guardian`.

Python compiles a script anew each time that it starts, and a module only once.
"""

import sys

if __name__ == "__main__":
    sys.path.append(__file__.rpartition("/console/")[0])  # -I -S leaves us the standard library

    from console.system.guardian import main

    main()
