# shellcheck shell=bash
# Made from the table of settings by examples/documents.rs.
_zxporter_netmon() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} first=''
    case "${COMP_WORDS[*]:1}" in
    'top'*) mapfile -t COMPREPLY < <(compgen -f -W '-by -sort -match -class -scope -limit -bits -address -help' -- "$word"); return ;;
    'flows'*) mapfile -t COMPREPLY < <(compgen -f -W '-by -sort -match -class -scope -limit -format -bits -for -address -help' -- "$word"); return ;;
    'doctor'*) mapfile -t COMPREPLY < <(compgen -f -W '-format -help' -- "$word"); return ;;
    'config'*) mapfile -t COMPREPLY < <(compgen -f -W '-address -help' -- "$word"); return ;;
    'replay'*) mapfile -t COMPREPLY < <(compgen -f -W '-by -sort -match -class -scope -limit -format -bits -help' -- "$word"); return ;;
    'topology compile'*) mapfile -t COMPREPLY < <(compgen -f -W '-regions -services -scope -via -help' -- "$word"); return ;;
    'topology publish'*) mapfile -t COMPREPLY < <(compgen -f -W '-configmap -namespace -key -topology -pods -kubeconfig -help' -- "$word"); return ;;
    'state give'*) mapfile -t COMPREPLY < <(compgen -f -W ' -help' -- "$word"); return ;;
    'audit'*) mapfile -t COMPREPLY < <(compgen -f -W '-for -format -address -help' -- "$word"); return ;;
    'topology'*) mapfile -t COMPREPLY < <(compgen -W 'compile publish' -- "$word"); return ;;
    'state'*) mapfile -t COMPREPLY < <(compgen -W 'give' -- "$word"); return ;;
    esac
    case $previous in
    -collector-mode | --collector-mode) mapfile -t COMPREPLY < <(compgen -W 'netfilter ebpf cilium auto' -- "$word"); return ;;
    -fallback | --fallback) mapfile -t COMPREPLY < <(compgen -W 'auto none' -- "$word"); return ;;
    -read-interval | --read-interval) COMPREPLY=(); return ;;
    -cleanup-interval | --cleanup-interval) COMPREPLY=(); return ;;
    -conntrack-zone | --conntrack-zone) mapfile -t COMPREPLY < <(compgen -W 'auto' -- "$word"); return ;;
    -cgroup-root | --cgroup-root) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -cgroup-fs | --cgroup-fs) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -cilium-bpf-root | --cilium-bpf-root) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -dns | --dns) mapfile -t COMPREPLY < <(compgen -W 'auto on off' -- "$word"); return ;;
    -dns-ports | --dns-ports) COMPREPLY=(); return ;;
    -local-cidrs | --local-cidrs) COMPREPLY=(); return ;;
    -cluster-cidrs | --cluster-cidrs) COMPREPLY=(); return ;;
    -outside-cidrs | --outside-cidrs) COMPREPLY=(); return ;;
    -overlay-ports | --overlay-ports) COMPREPLY=(); return ;;
    -topology | --topology) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -topology-source | --topology-source) mapfile -t COMPREPLY < <(compgen -W 'none routes nodes' -- "$word"); return ;;
    -zone | --zone) COMPREPLY=(); return ;;
    -region | --region) COMPREPLY=(); return ;;
    -metrics-kubeconfig | --metrics-kubeconfig) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -token-file | --token-file) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -push-inbound | --push-inbound) mapfile -t COMPREPLY < <(compgen -W 'external all none' -- "$word"); return ;;
    -dakr-protocol | --dakr-protocol) mapfile -t COMPREPLY < <(compgen -W 'auto connect grpc-web grpc' -- "$word"); return ;;
    -ca-file | --ca-file) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -state-dir | --state-dir) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -metrics-bind-address | --metrics-bind-address) COMPREPLY=(); return ;;
    -metrics-allow | --metrics-allow) COMPREPLY=(); return ;;
    -metrics-hosts | --metrics-hosts) COMPREPLY=(); return ;;
    -opencost-hold | --opencost-hold) COMPREPLY=(); return ;;
    -metrics-format | --metrics-format) mapfile -t COMPREPLY < <(compgen -W 'prometheus json' -- "$word"); return ;;
    -max-rows | --max-rows) COMPREPLY=(); return ;;
    -max-connections | --max-connections) COMPREPLY=(); return ;;
    -log-level | --log-level) mapfile -t COMPREPLY < <(compgen -W 'off error warn info debug' -- "$word"); return ;;
    -record | --record) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    esac
    [ "$COMP_CWORD" = 1 ] && first='top flows doctor config replay topology state audit'
    mapfile -t COMPREPLY < <(compgen -W "$first -collector-mode -fallback -read-interval -cleanup-interval -conntrack-zone -manage-conntrack -cgroup-root -cgroup-fs -cilium-bpf-root -dns -dns-ports -local-cidrs -cluster-cidrs -outside-cidrs -overlay-ports -topology -topology-source -zone -region -standalone -metrics-kubeconfig -token-file -push-inbound -dakr-protocol -ca-file -state-dir -metrics-bind-address -metrics-allow -metrics-hosts -opencost-series -opencost-hold -metrics-format -max-rows -max-connections -log-level -record -help -version" -- "$word")
}
complete -F _zxporter_netmon zxporter-netmon
