"""Run the command line as `python -m anybudget`."""

from .cli import main

if __name__ == "__main__":
    main()
