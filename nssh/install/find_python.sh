# Finds a python3 that is new enough, and runs the program that follows on standard input: a line with its size, its text.
py='' old=''
ask="import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 8))"
for name in python3 /usr/bin/python3 /usr/local/bin/python3 "$HOME/.local/bin/python3" /opt/homebrew/bin/python3 \
    python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8; do
    path=$(command -v "$name" 2>/dev/null) || continue
    case $path in /*) ;; *) continue ;; esac
    if version=$("$path" -IS -c "$ask" </dev/null 2>/dev/null); then
        # An interpreter without its standard library is of no use either.
        if "$path" -IS -c 'import json, py_compile, socket, subprocess' </dev/null >/dev/null 2>&1; then
            py=$path
            break
        fi
        version="$version without its standard library"
    fi
    [ -n "$old" ] || [ -z "$version" ] || old="$path is $version"
done
if [ -z "$py" ]; then
    say nopython "$old"
    finish 3
fi
"$py" -IS -c 'import sys; i = sys.stdin.buffer; exec(i.read(int(i.readline())))'
finish $?
