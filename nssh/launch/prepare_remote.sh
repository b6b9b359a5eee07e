# Makes the remote ready for a session. Reads the size of the session file and its text (size 0 leaves the file as it
# is); the fields of `session-open` for the event log, or an empty line; then `mosh`, mosh-server's two timeouts, the
# number of its arguments and these, one a line, or an empty line.
state="${XDG_STATE_HOME:-$HOME/.local/state}/nssh"
data="${XDG_DATA_HOME:-$HOME/.local/share}/nssh"
say address "${SSH_CONNECTION:-}"
IFS= read -r size
temporary="$state/session.$$"
if [ "$size" = 0 ]; then
    :
elif problem=$( { mkdir -p "$state" && chmod 700 "$state"; } 2>&1 ); then
    session=$(dd bs=1 count="$size" 2>/dev/null; printf .)
    # cat: what it says of a full disk is what the user needs to know, which a shell's own printf keeps to itself.
    put() { printf '%s' "${session%.}" | cat > "$temporary" && mv -f "$temporary" "$state/session"; }
    if ! problem=$(put 2>&1); then
        rm -f "$temporary"
        say problem "can't write $state/session: $problem"
    fi
else
    dd bs=1 count="$size" >/dev/null 2>&1
    say problem "can't create $state: $problem"
fi
# The remote's event log as nssh/remote/events.py writes it. If that is not possible, the session goes on without.
IFS= read -r opened
log="$state/log.jsonl"
if [ -n "$opened" ] && [ ! -L "$log" ] && { [ -f "$log" ] || [ ! -e "$log" ]; }; then
    {
        if [ -f "$log" ] && [ "$(wc -c < "$log")" -ge 1048576 ]; then mv -f "$log" "$log.1"; fi
        now=$(date -u +%Y-%m-%dT%H:%M:%S) &&
            printf '{"ts":"%s.000000Z","event":"session-open","side":"session-init","pid":%d,%s}\n' \
                "$now" "$$" "$opened" >> "$log"
    } 2>/dev/null
fi
# `nssh infect` writes it last.
if [ -r "$data/version" ] && IFS= read -r version < "$data/version"; then say version "$version"; fi
IFS= read -r mosh
if [ "$mosh" = mosh ]; then
    IFS= read -r silent
    IFS= read -r unused
    IFS= read -r count
    set --
    while [ "$#" -lt "$count" ]; do IFS= read -r word; set -- "$@" "$word"; done
    # It is looked for where a login without rc files may not look; the session itself gets the PATH and umask it would.
    server=$(PATH="$PATH:/usr/local/bin:/opt/homebrew/bin:/opt/local/bin:$HOME/.local/bin"; command -v mosh-server)
    if [ -n "$server" ]; then
        say mosh yes
        # shellcheck disable=SC2154  # the prelude sets it
        umask "$nssh_umask"
        [ "$silent" = 0 ] || export MOSH_SERVER_NETWORK_TMOUT="$silent"
        [ "$unused" = 0 ] || export MOSH_SERVER_SIGNAL_TMOUT="$unused"
        "$server" "$@" </dev/null 2>&1
    fi
fi
finish 0
