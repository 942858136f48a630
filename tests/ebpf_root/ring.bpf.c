// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/* Fills a ring buffer for tests/ebpf_root/ring.rs: each packet becomes a record of its own size, and behind one that
 * begins with an odd byte comes a record that is given up. Never loaded by the agent. */
#include "kernel.h"
#include <bpf/bpf_helpers.h>

/* A record at most, and a power of two for the verifier's sake. */
#define MOST 4096

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} ring SEC(".maps");

struct copy {
	__u8 bytes[MOST];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct copy);
} copies SEC(".maps");

/* 1 if there was room. */
SEC("cgroup_skb/ingress")
int record(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct copy *copy = bpf_map_lookup_elem(&copies, &zero);
	__u64 last = skb->len - 1;
	void *none;

	if (!copy)
		return 0;
	asm volatile("" : "+r"(last));
	if (last > MOST - 1)
		return 0;
	asm volatile("" : "+r"(last));
	if (bpf_skb_load_bytes(skb, 0, copy->bytes, last + 1))
		return 0;
	if (bpf_ringbuf_output(&ring, copy->bytes, last + 1, 0))
		return 0;
	if (copy->bytes[0] & 1) {
		none = bpf_ringbuf_reserve(&ring, 40, 0);
		if (none)
			bpf_ringbuf_discard(none, 0);
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
