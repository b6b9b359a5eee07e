"""Parse command lines as the real tools do: X's toolkit options, and GNU's long options."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class BadOption(Exception):  # noqa: N818 (the personas turn it into the real tool's message)
    """The real tool refuses an option; the text is getopt_long's, without the program's name."""


class Options:
    """Parsed options by their full names (a flag's value is empty), and the words that are no options."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.words: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self.found

    def add(self, name: str, value: str = "") -> None:
        """Add an option; of one that is given twice, the last place and value count."""
        self.found.pop(name, None)
        self.found[name] = value

    def get(self, name: str) -> str:
        """Return an option's value; empty if it was not given."""
        return self.found.get(name, "")

    def last(self, *names: str) -> str:
        """Return which of these options was given last; empty if none was."""
        return next((name for name in reversed(list(self.found)) if name in names), "")

    def flags(self) -> list[str]:
        """Return the names of the given options with a dash, which is all of a command line that a log may hold."""
        return ["-" + name for name in self.found]


def parse_x(arguments: list[str], known: Mapping[str, bool], exact: tuple[str, ...] = ()) -> Options:
    """Parse options as XrmParseCommand does: one dash, any unambiguous abbreviation, the value in the next word.

    Unknown options, and options that lack their value, are words.

    Args:
        arguments: Without the program's name.
        known: Maps full names without the dash to whether they take a value.
        exact: Names that can't be abbreviated.
    """
    options = Options()
    rest = iter(arguments)
    for word in rest:
        name = word[1:]
        matches = [name] if name in known else [full for full in known if full.startswith(name) and full not in exact]
        if not word.startswith("-") or not name or len(matches) != 1:
            options.words.append(word)
        elif known[matches[0]]:
            value = next(rest, None)
            if value is None:
                options.words.append(word)
            else:
                options.add(matches[0], value)
        else:
            options.add(matches[0])
    return options


def parse_gnu(arguments: list[str], known: Mapping[str, str], ends: tuple[str, ...] = ()) -> Options:
    """Parse options as getopt_long does: `-nt TYPE`, `-tTYPE`, `--type=TYPE`, `--ty TYPE`, words in between, `--`.

    Args:
        arguments: Without the program's name.
        known: Maps full names to the one-letter form (or nothing), followed by `:` if a value is taken.
        ends: Options behind which the real tool reads nothing, such as help.

    Raises:
        BadOption: An option is unknown or ambiguous, lacks its value, or has one that it does not take.
    """
    options = Options()
    letters = {form[0]: name for name, form in known.items() if form[:1] not in ("", ":")}
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            options.words.extend(rest)
        elif word.startswith("--"):
            _long(options, word[2:], rest, known)
        elif word.startswith("-") and word != "-":
            _cluster(options, word[1:], rest, known, letters)
        else:
            options.words.append(word)
        if any(name in options for name in ends):
            return options
    return options


def _long(options: Options, word: str, rest: Iterator[str], known: Mapping[str, str]) -> None:
    typed, equals, value = word.partition("=")
    matches = [typed] if typed in known else [full for full in known if full.startswith(typed)]
    if not matches:
        raise BadOption("unrecognized option '--%s'" % word)
    if len(matches) > 1:
        names = "".join(" '--%s'" % match for match in matches)
        raise BadOption("option '--%s' is ambiguous; possibilities:%s" % (word, names))
    name = matches[0]
    if equals and not known[name].endswith(":"):
        raise BadOption("option '--%s' doesn't allow an argument" % name)
    if known[name].endswith(":") and not equals:
        given = next(rest, None)
        if given is None:
            raise BadOption("option '--%s' requires an argument" % name)
        value = given
    options.add(name, value)


def _cluster(
    options: Options, cluster: str, rest: Iterator[str], known: Mapping[str, str], letters: Mapping[str, str]
) -> None:
    while cluster:
        letter, cluster = cluster[0], cluster[1:]
        name = letters.get(letter, "")
        if not name:
            raise BadOption("invalid option -- '%s'" % letter)
        if not known[name].endswith(":"):
            options.add(name)
            continue
        value = cluster or next(rest, None)
        if value is None:
            raise BadOption("option requires an argument -- '%s'" % letter)
        options.add(name, value)
        return
