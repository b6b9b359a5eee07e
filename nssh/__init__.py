"""nssh: ssh and mosh with the clipboard, the browser and OAuth callbacks of the machine you sit at."""

__version__ = "0.1.0"
