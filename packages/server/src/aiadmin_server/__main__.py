"""`python -m aiadmin_server` is `aiadmin`: for interpreters whose scripts are not on the path, and for the server
that `aiadmin run` starts for itself."""

from .cli import main

if __name__ == "__main__":
    main()
