# Writes a private file: reads its path, its size in bytes, and its content.
{ IFS= read -r path && IFS= read -r size; } || finish 3
cd || finish 3
case $path in /*) ;; *) path=$PWD/$path ;; esac
# mv onto a directory, or a symlink to one, would move into it.
if [ -d "$path" ]; then say error "is a directory"; finish 4; fi
[ -d "${path%/*}/" ] || { say error "no such directory"; finish 4; }
temporary=$path.nssh.$$
rm -f -- "$temporary" || finish 5
trap 'rm -f -- "$temporary"' EXIT
trap 'exit 1' HUP INT TERM
# -C makes the shell create the file, never follow a symlink planted under its name.
(set -C; cat > "$temporary") || finish 5
# What is counted before the rename is what arrived: a connection that dies in the middle ends the input early, and
# `cat` can't tell that from the end of the file.
[ "$(($(wc -c < "$temporary")))" -eq "$size" ] || { say error "arrived incomplete"; finish 6; }
mv -f -- "$temporary" "$path" || finish 5
finish 0
