# Begins every script that nssh runs on a remote: frames its answer, and offers `say KEY VALUE` and `finish STATUS`.
# shellcheck disable=SC2034  # the scripts behind it give it to what they start for the user
nssh_umask=$(umask)
umask 077
IFS= read -r nssh_mark || exit 97
unset ENV CDPATH
say() { printf '%s %s\n' "$1" "$2"; }
finish() { printf '\n%s end %s\n' "$nssh_mark" "$1"; exit "$1"; }
printf '\n%s begin\n' "$nssh_mark"
