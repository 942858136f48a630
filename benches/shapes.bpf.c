// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/* What the flow programs are measured against (benches/bpf.rs): a program that does nothing; what no program can go
 * below that counts into a hash by keys of our sizes; and one of a common older design: headers copied out of the packet by bpf_skb_load_bytes, one 59-byte key for both families, a 48-byte value, and
 * a pair of LRU hashes chosen by an index in a configuration map. Never loaded by the agent. */
#include "kernel.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define BPF_MAP_TYPE_LRU_HASH 9
#define ETH_P_IP 0x0800
#define BPF_ANY 0

struct shared_key {
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
	__u32 protocol;
	__u32 family;
	__u32 pid;
	__u64 cgroup;
	__u8 direction[3];
} __attribute__((packed));

struct shared_value {
	__u64 tx_bytes;
	__u64 tx_packets;
	__u64 rx_bytes;
	__u64 rx_packets;
	__u64 first_seen;
	__u64 last_seen;
};

_Static_assert(sizeof(struct shared_key) == 59, "the design's key");
_Static_assert(sizeof(struct shared_value) == 48, "the design's value");

struct shared_flows {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65535);
	__type(key, struct shared_key);
	__type(value, struct shared_value);
} shared_a SEC(".maps"), shared_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct shared_flows);
} shared SEC(".maps") = { .values = { &shared_a, &shared_b } };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} chosen SEC(".maps");

SEC("cgroup_skb/egress")
int empty(struct __sk_buff *skb)
{
	return 1;
}

/* One look-up of a key that is always the same, in a hash like ours that is reached by a slot like ours, and two additions:
 * the kernel's share of counting a packet, whatever the packet is and however well it is read. */
#define DEFINE_LOOK_UP(FAMILY, BYTES)                                                                        \
	struct lookup_key##FAMILY {                                                                          \
		__u64 words[BYTES / 8];                                                                      \
	};                                                                                                   \
                                                                                                             \
	struct lookups##FAMILY {                                                                             \
		__uint(type, BPF_MAP_TYPE_HASH);                                                             \
		__uint(max_entries, 65536);                                                                  \
		__type(key, struct lookup_key##FAMILY);                                                      \
		__type(value, struct shared_value);                                                          \
	} lookups##FAMILY##_a SEC(".maps");                                                                  \
                                                                                                             \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                    \
		__uint(max_entries, 1);                                                                      \
		__type(key, __u32);                                                                          \
		__array(values, struct lookups##FAMILY);                                                     \
	} lookups##FAMILY SEC(".maps") = { .values = { &lookups##FAMILY##_a } };                             \
                                                                                                             \
	SEC("cgroup_skb/egress")                                                                             \
	int look_up##FAMILY(struct __sk_buff *skb)                                                           \
	{                                                                                                    \
		struct lookup_key##FAMILY key = { { skb->ifindex } };                                        \
		struct shared_value *value, fresh = {};                                                      \
		__u32 zero = 0;                                                                              \
		void *flows = bpf_map_lookup_elem(&lookups##FAMILY, &zero);                                  \
                                                                                                             \
		if (!flows)                                                                                  \
			return 1;                                                                            \
		value = bpf_map_lookup_elem(flows, &key);                                                    \
		if (value) {                                                                                 \
			__sync_fetch_and_add(&value->tx_bytes, skb->len);                                    \
			__sync_fetch_and_add(&value->tx_packets, 1);                                         \
			return 1;                                                                            \
		}                                                                                            \
		bpf_map_update_elem(flows, &key, &fresh, BPF_ANY);                                           \
		return 1;                                                                                    \
	}

DEFINE_LOOK_UP(4, 16)
DEFINE_LOOK_UP(6, 40)

SEC("cgroup_skb/egress")
int load_bytes(struct __sk_buff *skb)
{
	struct shared_key key = {};
	struct shared_value *value, fresh = {};
	__u32 zero = 0, *index, offset;
	__be16 ports[2];
	void *flows;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
			return 1;
		__builtin_memcpy(key.local, &ip.saddr, 4);
		__builtin_memcpy(key.remote, &ip.daddr, 4);
		key.protocol = ip.protocol;
		key.family = 2;
		offset = (ip.version_ihl & 15) * 4;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
			return 1;
		__builtin_memcpy(key.local, ip.saddr, 16);
		__builtin_memcpy(key.remote, ip.daddr, 16);
		key.protocol = ip.nexthdr;
		key.family = 10;
		offset = sizeof(ip);
	}
	if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)))
		return 1;
	key.local_port = ports[0];
	key.remote_port = ports[1];

	index = bpf_map_lookup_elem(&chosen, &zero);
	if (!index)
		return 1;
	flows = bpf_map_lookup_elem(&shared, index);
	if (!flows)
		return 1;
	value = bpf_map_lookup_elem(flows, &key);
	if (value) {
		__sync_fetch_and_add(&value->tx_bytes, skb->len);
		__sync_fetch_and_add(&value->tx_packets, 1);
		return 1;
	}
	fresh.tx_bytes = skb->len;
	fresh.tx_packets = 1;
	bpf_map_update_elem(flows, &key, &fresh, BPF_ANY);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
