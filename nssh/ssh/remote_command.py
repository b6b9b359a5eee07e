"""Build the command that runs `nssh-remote` on a remote. Standard library only, on the way to ssh."""

from __future__ import annotations


def remote_command(*words: str) -> str:
    """Return a command for the remote's login shell that runs `nssh-remote` with the arguments `words`.

    sh, bash, zsh, fish and tcsh read it alike. If nssh is not installed on the remote, its status is 127.

    Raises:
        ValueError: A word is empty, or has a character that some shell interprets.
    """
    for word in words:
        if not word or not all(
            character.isascii() and (character.isalnum() or character in "-_./:=") for character in word
        ):
            raise ValueError("a word for a remote command may have letters, digits and -_./:= only")
    arguments = "".join(f" {word}" for word in words)
    return f"exec sh -c 'exec \"${{XDG_DATA_HOME:-$HOME/.local/share}}/nssh/nssh-remote\"{arguments}'"
