"""`python -m corsproxy` is the same door as the `corsproxy` command."""

from corsproxy.cli.main import main

if __name__ == "__main__":
    main()
