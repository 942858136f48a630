// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include "flow.h"

struct __sk_buff;

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
