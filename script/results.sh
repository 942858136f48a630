# shellcheck shell=bash
# Reads what test programs print: how many tests passed, failed and were skipped, and why. Sourced by script/test.
#
# A skipped test says why: "test NAME ... skipped: CAUSE", or "ignored, CAUSE" as libtest has it.

# Number of skipped tests by cause.
declare -A causes=()

# results FILE : how many tests it says have passed, failed and been skipped.
results() {
    awk '/^test result:/ {
        gsub(/[;,]/, "")
        for (i = 2; i <= NF; i++) {
            if ($i == "passed") p += $(i - 1)
            if ($i == "failed") f += $(i - 1)
            if ($i == "skipped" || $i == "ignored") s += $(i - 1)
        }
    } END { print p + 0, f + 0, s + 0 }' "$1"
}

# note_causes FILE SKIPPED : adds up the causes in FILE. What is skipped without one counts under a cause of its own.
note_causes() {
    local cause left=$2
    while read -r cause; do
        [ "$left" -gt 0 ] || break
        causes["$cause"]=$((${causes["$cause"]:-0} + 1))
        left=$((left - 1))
    done < <(sed -nE 's/^(test .* \.\.\. )?(skipped: |ignored, )(.*)$/\3/p' "$1" | sed -E 's/ \([0-9.]+s\)$//')
    [ "$left" = 0 ] || causes["needs a cause"]=$((${causes["needs a cause"]:-0} + left))
}

print_causes() {
    local cause
    for cause in "${!causes[@]}"; do printf 'skipped: %4d  %s\n' "${causes[$cause]}" "$cause"; done | sort -k 3
}

# Where CI=true asks for everything: fails if something was skipped for a cause that is not "not ...".
nothing_is_lacking() {
    local cause lacking=0
    [ "${CI:-}" = true ] || return 0
    for cause in "${!causes[@]}"; do
        [[ $cause == not\ * ]] || lacking=$((lacking + ${causes["$cause"]}))
    done
    [ "$lacking" -gt 0 ] || return 0
    echo "failed: $lacking checks were skipped for what this machine lacks, and CI is to run everything"
    return 1
}
