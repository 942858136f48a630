# shellcheck shell=bash
# Made from the table of settings by examples/documents.rs.
_zxporter_netmon() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} first='' equals=''
    if [ "$word" = = ]; then
        word='' equals=1
    elif [ "$previous" = = ]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]} equals=1
    fi
    offer() {
        local all=" $1"
        [[ $word == --* ]] && all=${all// -/ --}
        mapfile -t COMPREPLY < <(compgen ${2:+"$2"} -W "$all" -- "$word")
    }
    case "${COMP_WORDS[*]:1}" in
    'top '*) case $previous in -by | --by) offer 'row owner workload namespace remote port class scope'; return ;; -sort | --sort) offer 'rate tx rx bytes'; return ;; -class | --class) offer 'inside outside overlay multicast'; return ;; -scope | --scope) offer 'node zone region cross_region internet unknown overlay'; return ;; esac; offer '-by -sort -match -class -scope -limit -bits -address -help' -f; return ;;
    'flows '*) case $previous in -by | --by) offer 'row owner workload namespace remote port class scope'; return ;; -sort | --sort) offer 'rate tx rx bytes'; return ;; -class | --class) offer 'inside outside overlay multicast'; return ;; -scope | --scope) offer 'node zone region cross_region internet unknown overlay'; return ;; -format | --format) offer 'table json csv tsv'; return ;; esac; offer '-by -sort -match -class -scope -limit -format -bits -for -address -help' -f; return ;;
    'doctor '*) case $previous in -format | --format) offer 'text json'; return ;; esac; offer '-format -help' -f; return ;;
    'config '*) offer '-address -help' -f; return ;;
    'replay '*) case $previous in -by | --by) offer 'row owner workload namespace remote port class scope'; return ;; -sort | --sort) offer 'rate tx rx bytes'; return ;; -class | --class) offer 'inside outside overlay multicast'; return ;; -scope | --scope) offer 'node zone region cross_region internet unknown overlay'; return ;; -format | --format) offer 'table json csv tsv'; return ;; esac; offer '-by -sort -match -class -scope -limit -format -bits -help' -f; return ;;
    'topology compile '*) case $previous in -scope | --scope) offer 'node zone region cross_region internet'; return ;; -via | --via) offer 'nat lb privatelink peering tgw vpn interconnect'; return ;; esac; offer '-regions -services -scope -via -help' -f; return ;;
    'topology publish '*) case $previous in -pods | --pods) offer 'auto always never'; return ;; esac; offer '-configmap -namespace -key -topology -pods -kubeconfig -help' -f; return ;;
    'state give '*) offer ' -help' -f; return ;;
    'audit '*) case $previous in -format | --format) offer 'text json'; return ;; esac; offer '-for -format -address -help' -f; return ;;
    'topology '*) offer 'compile publish'; return ;;
    'state '*) offer 'give'; return ;;
    esac
    case $previous in
    -collector-mode | --collector-mode) offer 'netfilter ebpf cilium auto'; return ;;
    -fallback | --fallback) offer 'auto none'; return ;;
    -read-interval | --read-interval) COMPREPLY=(); return ;;
    -cleanup-interval | --cleanup-interval) COMPREPLY=(); return ;;
    -conntrack-zone | --conntrack-zone) offer 'auto'; return ;;
    -manage-conntrack | --manage-conntrack) [ $equals ] && { offer 'true false'; return; } ;;
    -cgroup-root | --cgroup-root) offer '' -f; return ;;
    -cgroup-fs | --cgroup-fs) offer '' -f; return ;;
    -cilium-bpf-root | --cilium-bpf-root) offer '' -f; return ;;
    -dns | --dns) offer 'auto on off'; return ;;
    -dns-ports | --dns-ports) COMPREPLY=(); return ;;
    -local-cidrs | --local-cidrs) COMPREPLY=(); return ;;
    -cluster-cidrs | --cluster-cidrs) COMPREPLY=(); return ;;
    -outside-cidrs | --outside-cidrs) COMPREPLY=(); return ;;
    -overlay-ports | --overlay-ports) COMPREPLY=(); return ;;
    -topology | --topology) offer '' -f; return ;;
    -topology-source | --topology-source) offer 'none routes nodes'; return ;;
    -zone | --zone) COMPREPLY=(); return ;;
    -region | --region) COMPREPLY=(); return ;;
    -standalone | --standalone) [ $equals ] && { offer 'true false'; return; } ;;
    -metrics-kubeconfig | --metrics-kubeconfig) offer '' -f; return ;;
    -token-file | --token-file) offer '' -f; return ;;
    -push-inbound | --push-inbound) offer 'external all none'; return ;;
    -dakr-protocol | --dakr-protocol) offer 'auto connect grpc-web grpc'; return ;;
    -ca-file | --ca-file) offer '' -f; return ;;
    -state-dir | --state-dir) offer '' -f; return ;;
    -metrics-bind-address | --metrics-bind-address) COMPREPLY=(); return ;;
    -metrics-allow | --metrics-allow) COMPREPLY=(); return ;;
    -metrics-hosts | --metrics-hosts) COMPREPLY=(); return ;;
    -opencost-series | --opencost-series) [ $equals ] && { offer 'true false'; return; } ;;
    -opencost-hold | --opencost-hold) COMPREPLY=(); return ;;
    -metrics-format | --metrics-format) offer 'prometheus json'; return ;;
    -max-rows | --max-rows) COMPREPLY=(); return ;;
    -max-connections | --max-connections) COMPREPLY=(); return ;;
    -log-level | --log-level) offer 'off error warn info debug'; return ;;
    -log-format | --log-format) offer 'text json'; return ;;
    -record | --record) offer '' -f; return ;;
    esac
    [ "$COMP_CWORD" = 1 ] && first='top flows doctor config replay topology state audit '
    offer "$first-collector-mode -fallback -read-interval -cleanup-interval -conntrack-zone -manage-conntrack -cgroup-root -cgroup-fs -cilium-bpf-root -dns -dns-ports -local-cidrs -cluster-cidrs -outside-cidrs -overlay-ports -topology -topology-source -zone -region -standalone -metrics-kubeconfig -token-file -push-inbound -dakr-protocol -ca-file -state-dir -metrics-bind-address -metrics-allow -metrics-hosts -opencost-series -opencost-hold -metrics-format -max-rows -max-connections -log-level -log-format -record -help -version"
}
complete -F _zxporter_netmon zxporter-netmon
