"""Command lines read as the real tools read them: X's toolkit options, and GNU's long options."""

from __future__ import annotations

from nssh.remote.failure import NotOurs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Options:
    """What was found: options by full name (a flag's value is empty), and the words that are none."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.words: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self.found

    def get(self, name: str) -> str:
        """Return an option's value, the last one if it was given twice; empty if it was not given."""
        return self.found.get(name, "")

    def flags(self) -> list[str]:
        """Return the names of the options given: what a log may hold of a command line."""
        return ["-" + name for name in self.found]


def parse_x(arguments: list[str], known: Mapping[str, bool], exact: tuple[str, ...] = ()) -> Options:
    """Read options as XrmParseCommand does: one dash, any unambiguous abbreviation, the value in the next word.

    Args:
        arguments: Without the program's name.
        known: Full names without the dash; whether they take a value.
        exact: Those of them that can't be abbreviated.

    Raises:
        NotOurs: A value is missing.
    """
    options = Options()
    rest = iter(arguments)
    for word in rest:
        name = word[1:]
        matches = [name] if name in known else [full for full in known if full.startswith(name) and full not in exact]
        if not word.startswith("-") or not name or len(matches) != 1:
            options.words.append(word)  # xclip takes for a file what it does not know
        elif known[matches[0]]:
            options.found[matches[0]] = _next(rest)
        else:
            options.found[matches[0]] = ""
    return options


def parse_gnu(arguments: list[str], known: Mapping[str, str]) -> Options:
    """Read options as getopt_long does: `-nt TYPE`, `-tTYPE`, `--type=TYPE`, `--ty TYPE`, words in between, `--`.

    Args:
        arguments: Without the program's name.
        known: Full names; the one-letter form, followed by `:` if a value is taken.

    Raises:
        NotOurs: An option is unknown, ambiguous or lacks its value: the real tool explains its own usage.
    """
    options = Options()
    letters = {form[0]: name for name, form in known.items() if form[:1] not in ("", ":")}
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            options.words.extend(rest)
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            matches = [name] if name in known else [full for full in known if full.startswith(name)]
            if len(matches) != 1:
                raise NotOurs("the option is not known")
            takes = known[matches[0]].endswith(":")
            if equals and not takes:
                raise NotOurs("an option has a value that takes none")
            options.found[matches[0]] = value if equals else _next(rest) if takes else ""
        elif word.startswith("-") and word != "-":
            cluster = word[1:]
            while cluster:
                name = letters.get(cluster[0], "")
                if not name:
                    raise NotOurs("the option is not known")
                cluster = cluster[1:]
                if known[name].endswith(":"):
                    options.found[name] = cluster or _next(rest)
                    cluster = ""
                else:
                    options.found[name] = ""
        else:
            options.words.append(word)
    return options


def _next(rest: Iterator[str]) -> str:
    value = next(rest, None)
    if value is None:
        raise NotOurs("an option lacks its value")
    return value
