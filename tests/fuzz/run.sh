#!/bin/sh
# Fuzz every decoder: run.sh SECONDS [DECODER...]. Two at a time; a table of what was tried at the end.
# Needs clang and its libFuzzer (apt-get install clang libclang-rt-14-dev).
set -eu
cd "$(dirname "$0")"
seconds=$1
shift
[ $# -gt 0 ] || set -- $(sed -n 's/^#ifdef FUZZ_//p' streams.c records.c)
out=../../build/fuzz
flags="-std=c99 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all"
for decoder in "$@"; do
    mkdir -p "$out/corpus/$decoder"
    ${CLANG:-clang} $flags "-DFUZZ_$decoder" "$(grep -l "FUZZ_$decoder\$" streams.c records.c)" -o "$out/$decoder"
done
printf '%s\n' "$@" | xargs -P "${AT_ONCE:-2}" -I{} sh -c "nice -n 19 $out/{} -max_total_time=$seconds -max_len=4096 \
    -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix=$out/crash-{}- $out/corpus/{} > $out/{}.log 2>&1 || true"
failed=0
printf '%-14s %14s %8s %8s %8s\n' decoder inputs edges features crashes
for decoder in "$@"; do
    log=$out/$decoder.log
    edges=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\).*/\1 \2/p' "$log" | tail -1)
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    crashes=$(find "$out" -maxdepth 1 -name "crash-$decoder-*" | wc -l)
    [ "$crashes" = 0 ] && [ -n "$inputs" ] || failed=1
    printf '%-14s %14s %8s %8s %8s\n' "$decoder" "${inputs:-?}" $edges "$crashes"
done
exit $failed
