#!/bin/sh
# In the real compiler's place: its recorded answers, and files where it would write some.
for word in "$@"; do
    case $word in
        -vV) exec cat /stand-in/version ;;
        --print=*) exec cat /stand-in/answers ;;
    esac
done
name='' out='' extra='' source=''
while [ $# -gt 0 ]; do
    case $1 in
        --crate-name) name=$2 && shift ;;
        --out-dir) out=$2 && shift ;;
        extra-filename=*) extra=${1#extra-filename=} ;;
        *.rs) source=$1 ;;
    esac
    shift
done
echo metadata > "$out/lib$name$extra.rmeta"
echo library > "$out/lib$name$extra.rlib"
printf '%s: %s\n\n%s:\n' "$out/lib$name$extra.rmeta" "$source" "$source" > "$out/$name$extra.d"
