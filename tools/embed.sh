#!/bin/sh
# Prints C that holds files: the table NAME_files of src/serve/page.h.  POSIX tools only.
#   tools/embed.sh NAME FILE...
set -eu
name=$1
shift
printf '/* Made by tools/embed.sh. */\n#include "serve/page.h"\n\n'
i=0
table=
for file in "$@"; do
    # "01 02 ff" -> "0x01,0x02,0xff,"
    printf 'static const unsigned char bytes_%d[] = {\n' $i
    od -An -v -tx1 "$file" | sed 's/ *\([0-9a-f][0-9a-f]\)/0x\1,/g'
    printf '};\n'
    table="$table    { \"${file##*/}\", bytes_$i, sizeof bytes_$i, \"\\\"$(cksum <"$file" | tr ' ' '-')\\\"\" },
"
    i=$((i + 1))
done
printf '\nconst page_file %s_files[] = {\n%s};\nconst size_t %s_file_count = %d;\n' "$name" "$table" "$name" $i
