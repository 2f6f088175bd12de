#!/bin/sh
# The library never ends the process and never writes to the standard streams; and every function that
# more than one file can see starts with the name of the file that has it, so that a reader can find it.
#   tools/check-symbols.sh ARCHIVE...
lib=$*
# asan, tsan and debug keep assert(); the released library must not.
release=$(nm -u "$@" 2>/dev/null | grep -qE '__(asan|tsan|ubsan)' || echo yes)
case $lib in *debug*) release= ;; esac
syms=$(nm -u "$@" 2>/dev/null | awk 'NF { print $NF }' | sort -u)
[ -n "$syms" ] || { echo "check-symbols: nothing to look at in $lib"; exit 1; }
status=0

forbidden='exit|_exit|_Exit|quick_exit|abort|raise|err|errx|warn|warnx|perror|psignal|(__)?v?printf(_chk)?|puts|putchar|putchar_unlocked|stdout|stderr|stdin|setlocale|srand|rand|strtok|system'
[ -z "$release" ] || forbidden="$forbidden|__assert_fail"
bad=$(printf '%s\n' "$syms" | grep -xE "$forbidden" | tr '\n' ' ')
[ -z "$bad" ] || { echo "libfacet must not use: $bad"; nm -A -u "$@" 2>/dev/null | grep -wE "$(echo $bad | tr ' ' '|')"; status=1; }

# archive member "gguf_write.o" may define gguf_*: the name or its first word, and facet_* from anywhere.
# _ref, _avx2, ... files add entries to a table by kern_fill_<set>.
names=$(nm -A --defined-only -g "$@" 2>/dev/null | awk '
    $2 ~ /^[TDBRV]$/ || $3 ~ /^[TDBRV]$/ {
        n = split($1, part, ":"); file = part[2]; sub(/\.o$/, "", file); name = $NF
        if (file == "" || name ~ /^facet_/ || name ~ /^__/) next
        first = file; sub(/_.*/, "", first)
        if (file == "safetensors" && index(name, "st_") == 1) next   # the one abbreviation
        if (index(name, file) == 1 || index(name, first "_") == 1 || name == first || index(name, "kern_") == 1) next
        print "  " file ".c: " name
    }')
[ -z "$names" ] || { echo "functions that do not start with the name of their file:"; echo "$names"; status=1; }
exit $status
