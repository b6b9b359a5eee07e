"""The shims (`xclip`, `xdg-open`, …) and what else runs on a remote. Standard library only, Python 3.8+."""
