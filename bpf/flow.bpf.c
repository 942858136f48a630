// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/* Counts each packet that a socket of the attached cgroup sends or receives, per flow.
 *
 * Knows nothing of pods, services or who pays. Reads __sk_buff, bpf_sock and the packet; calls helpers. No kernel
 * struct, no tracing, no printk: CAP_BPF and CAP_NET_ADMIN are enough, and no kernel BTF is needed.
 *
 * At cgroup_skb the kernel has put skb->data back to the IP header in both directions (__cgroup_bpf_run_filter_skb). So
 * skb->len is the layer-3 length, GSO packets whole.
 *
 * The packet is read at constant offsets where it has no IP options and no extension headers; all else goes through
 * bpf_skb_load_bytes. Pointers with variable offsets would cost more, and older verifiers refuse some of them to
 * programs without CAP_PERFMON. */
#include "kernel.h"
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "flow.h"
#include "packet.h"

/* A connection has its own socket before so many packets of it have arrived. */
#define RACE_PACKETS 16

/* Entries in a buffer from which on user space is woken to drain it. */
const volatile __u32 wake_at_v4 = 49152;
const volatile __u32 wake_at_v6 = 12288;

struct flows4 {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow4_key);
	__type(value, struct flow_value);
} flows4_a SEC(".maps"), flows4_b SEC(".maps");

struct flows6 {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow6_key);
	__type(value, struct flow_value);
} flows6_a SEC(".maps"), flows6_b SEC(".maps");

/* The buffer in use. User space replaces it. The kernel returns from that only when no running program may still hold
 * the old one. So the old one is quiet and can be emptied without losing a packet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct flows4);
} flows4 SEC(".maps") = { .values = { &flows4_a } };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct flows6);
} flows6 SEC(".maps") = { .values = { &flows6_a } };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_stats);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct flow_fill);
} fill SEC(".maps");

/* Per CPU: the head of the segment that was counted last at a listener's socket. See is_same_segment. */
struct head {
	__u64 words[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct head);
} at_listener SEC(".maps");

/* Carries no data: its descriptor becomes readable when a drain is due. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} wake SEC(".maps");

static __always_inline struct flow_stats *stats_of_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&stats, &zero);
}

/* Counts a packet that is left out. Every program returns 1: the packet passes, counted or not. */
static __always_inline int skip(enum flow_skip reason)
{
	struct flow_stats *s = stats_of_cpu();

	if (s)
		s->skipped_packets[reason]++;
	return 1;
}

/* Whether a socket listens on the local end. The remote port is left 0, because an established socket would match
 * otherwise and hide the listener. */
static __always_inline bool listens(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size)
{
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	bool found;

	if (!sk)
		return false;
	found = sk->state == BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return found;
}

static __always_inline bool listens4(struct __sk_buff *skb, const struct flow4_key *key)
{
	struct bpf_sock_tuple tuple = {};

	tuple.ipv4.saddr = key->remote;
	tuple.ipv4.daddr = key->local;
	tuple.ipv4.dport = key->local_port;
	return listens(skb, &tuple, sizeof(tuple.ipv4));
}

static __always_inline bool listens6(struct __sk_buff *skb, const struct flow6_key *key)
{
	struct bpf_sock_tuple tuple = {};

	__builtin_memcpy(tuple.ipv6.saddr, key->remote, 16);
	__builtin_memcpy(tuple.ipv6.daddr, key->local, 16);
	tuple.ipv6.dport = key->local_port;
	return listens(skb, &tuple, sizeof(tuple.ipv6));
}

/* A raw socket that listens to TCP, UDP or SCTP receives a copy of a packet that is counted at its real receiver. Its
 * "port" is the protocol's number. So the costly check of the type is made only if the ports differ (as they do for a
 * transparent proxy). */
static __always_inline bool is_raw_copy(struct __sk_buff *skb, __be16 dest)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk || sk->src_port == bpf_ntohs(dest))
		return false;
	sk = bpf_sk_fullsock(sk);
	return sk && sk->type == SOCK_RAW;
}

/* Whether this very segment was counted before. While a connection has no socket of its own the kernel filters its
 * segments by the listener's. If two CPUs have one each, one makes the socket. The other finds the request gone, looks
 * up anew and filters the same segment by the new socket (tcp_v4_rcv, req_stolen). That happens in one go on one CPU,
 * so the last segment of a listener is kept per CPU. What is kept is ports, numbers, checksum and, as a rule, time
 * stamps. */
static __noinline int is_same_segment(struct __sk_buff *skb, __u32 offset)
{
	struct bpf_sock *sk = skb->sk;
	struct head now = {}, *last;
	__u32 zero = 0;

	if (!sk)
		return 0;
	last = bpf_map_lookup_elem(&at_listener, &zero);
	if (!last)
		return 0;
	/* Two ways with nothing in common, for 6.12's verifier follows branches that are predicted wrongly. A header has at
	 * least 20 bytes, and such a segment has no more to tell. */
	if (sk->state == BPF_TCP_LISTEN) {
		if (bpf_skb_load_bytes(skb, offset, last, 32))
			bpf_skb_load_bytes(skb, offset, last, 20);
		return 0;
	}
	if (bpf_skb_load_bytes(skb, offset, &now, 32) && bpf_skb_load_bytes(skb, offset, &now, 20))
		return 0;
	if ((now.words[0] ^ last->words[0]) | (now.words[1] ^ last->words[1]) | (now.words[2] ^ last->words[2]) |
	    (now.words[3] ^ last->words[3]))
		return 0;
	last->words[0] = 0;
	return 1;
}

/* Wakes user space, once per buffer. Without the atomic's result (a kernel 5.12 instruction) two CPUs may wake it
 * twice, which costs a drain and nothing else. */
static __always_inline void wake_once(__u32 family, bool full)
{
	struct flow_fill *f = bpf_map_lookup_elem(&fill, &family);
	__u32 wake_at = family == FLOW_FAMILY_V4 ? wake_at_v4 : wake_at_v6;
	__u32 note = family;

	if (!f)
		return;
	if (!full)
		__sync_fetch_and_add(&f->inserted, 1);
	if (f->woken || (!full && f->inserted < wake_at))
		return;
	f->woken = 1;
	bpf_ringbuf_output(&wake, &note, sizeof(note), 0);
}

/* What a packet adds beyond itself on the wire, as flow_value keeps it: each further frame has its headers again. The
 * words overflow before the frames do, after some 300 GB of one flow between two drains. */
static __always_inline __u64 further_frames(const struct __sk_buff *skb, __u32 words)
{
	__u32 segments = skb->gso_segs;

	if (segments < 2)
		return 0;
	return (__u64)(segments - 1) * ((__u64)words << 32 | 1);
}

static __always_inline void add_frames(struct flow_value *v, __u64 more, bool egress)
{
	if (!more)
		return;
	if (egress)
		__sync_fetch_and_add(&v->tx_more, more);
	else
		__sync_fetch_and_add(&v->rx_more, more);
}

/* Atomic, because several CPUs may handle packets of one flow at the same time. */
static __always_inline void add(struct flow_value *v, __u64 bytes, bool egress)
{
	if (egress) {
		__sync_fetch_and_add(&v->tx_bytes, bytes);
		__sync_fetch_and_add(&v->tx_packets, 1);
	} else {
		__sync_fetch_and_add(&v->rx_bytes, bytes);
		__sync_fetch_and_add(&v->rx_packets, 1);
	}
}

/* A SYN that leaves, or a SYN+ACK that arrives, proves that the local end is the originator; the reverse proves the
 * remote end. A store of the same 1 by two CPUs needs no atomic. */
static __always_inline void note_opening(struct flow_value *v, __u32 opening, bool egress)
{
	if (opening == OPENING_NO)
		return;
	if ((opening == OPENING_ASK) == egress)
		v->opened_by_local = 1;
	else
		v->opened_by_remote = 1;
	if (opening == OPENING_ASK)
		return;
	if (egress)
		v->answered_remote = 1;
	else
		v->answered_local = 1;
}

/* Counts bytes that find no slot (rule 12: every loss has a counter). */
static __always_inline void lose(__u64 bytes, bool egress)
{
	struct flow_stats *s = stats_of_cpu();

	if (!s)
		return;
	/* A packet that arrives interrupts one that is sent on the same CPU. */
	if (egress) {
		__sync_fetch_and_add(&s->lost_tx_bytes, bytes);
		__sync_fetch_and_add(&s->lost_tx_packets, 1);
	} else {
		__sync_fetch_and_add(&s->lost_rx_bytes, bytes);
		__sync_fetch_and_add(&s->lost_rx_packets, 1);
	}
}

/* The first packet of a flow since the last drain. Apart from the hot path so that its stack and registers do not
 * burden every packet. */
#define DEFINE_INSERT(FAMILY, INDEX)                                                                         \
	static __noinline int insert##FAMILY(struct __sk_buff *skb, void *flows, struct flow##FAMILY##_key *key, \
					     __u32 facts, __u32 egress)                                      \
	{                                                                                                    \
		/* Packed, for a function has five arguments at most. */                                     \
		__u32 opening = facts & 0xff;                                                                \
		__u64 more = further_frames(skb, facts >> 8);                                                \
		struct flow_value fresh = {};                                                                \
		struct flow_value *v;                                                                        \
                                                                                                             \
		fresh.cgroup = bpf_skb_cgroup_id(skb);                                                       \
		fresh.first = egress ? FLOW_FIRST_TX : FLOW_FIRST_RX;                                        \
		/* Without a SYN the role is unknown: a listener on the local port makes it the responder. */ \
		if (key->protocol == IPPROTO_TCP && opening == OPENING_NO && !key->flags)                    \
			fresh.listens = listens##FAMILY(skb, key);                                           \
		note_opening(&fresh, opening, egress);                                                       \
		if (egress) {                                                                                \
			fresh.tx_bytes = skb->len;                                                           \
			fresh.tx_packets = 1;                                                                \
		} else {                                                                                     \
			fresh.rx_bytes = skb->len;                                                           \
			fresh.rx_packets = 1;                                                                \
		}                                                                                            \
		if (egress)                                                                                  \
			fresh.tx_more = more;                                                                \
		else                                                                                         \
			fresh.rx_more = more;                                                                \
		/* NOEXIST: a plain update would overwrite the counts of a CPU that inserted first. */        \
		if (!bpf_map_update_elem(flows, key, &fresh, BPF_NOEXIST)) {                                 \
			wake_once(INDEX, false);                                                             \
			return 1;                                                                            \
		}                                                                                            \
		/* Another CPU was first, or there is no room. */                                            \
		v = bpf_map_lookup_elem(flows, key);                                                         \
		if (v) {                                                                                     \
			add(v, skb->len, egress);                                                            \
			add_frames(v, more, egress);                                                         \
			note_opening(v, opening, egress);                                                    \
			return 1;                                                                            \
		}                                                                                            \
		lose(skb->len, egress);                                                                      \
		wake_once(INDEX, true);                                                                      \
		return 1;                                                                                    \
	}

DEFINE_INSERT(4, FLOW_FAMILY_V4)
DEFINE_INSERT(6, FLOW_FAMILY_V6)

#define DEFINE_ACCOUNT(FAMILY)                                                                               \
	static __always_inline int account##FAMILY(struct __sk_buff *skb, struct flow##FAMILY##_key *key,    \
						   const struct transport *t, bool egress)                   \
	{                                                                                                    \
		__u32 zero = 0;                                                                              \
		void *flows;                                                                                 \
		struct flow_value *v;                                                                        \
                                                                                                             \
		flows = bpf_map_lookup_elem(&flows##FAMILY, &zero);                                          \
		if (!flows)                                                                                  \
			return skip(SKIP_NO_BUFFER);                                                         \
		v = bpf_map_lookup_elem(flows, key);                                                         \
		/* Asked for in each branch: 6.12 refuses a second look at v after the call. */              \
		if (!v) {                                                                                    \
			if (!egress && key->protocol == IPPROTO_TCP && is_same_segment(skb, t->offset))      \
				return skip(SKIP_SAME_SEGMENT);                                              \
			return insert##FAMILY(skb, flows, key, t->opening | t->words << 8, egress);          \
		}                                                                                            \
		if (!egress && key->protocol == IPPROTO_TCP && v->rx_packets < RACE_PACKETS &&               \
		    is_same_segment(skb, t->offset))                                                         \
			return skip(SKIP_SAME_SEGMENT);                                                      \
		add(v, skb->len, egress);                                                                    \
		add_frames(v, further_frames(skb, t->words), egress);                                        \
		note_opening(v, t->opening, egress);                                                         \
		return 1;                                                                                    \
	}

DEFINE_ACCOUNT(4)
DEFINE_ACCOUNT(6)

static __always_inline void note_fragment(void)
{
	struct flow_stats *s = stats_of_cpu();

	if (s)
		s->fragments++;
}

/* Whether a packet is left out because of its transport header. */
static __always_inline bool is_left_out(struct __sk_buff *skb, const struct transport *t, __u8 protocol, bool egress)
{
	if (t->icmp_error) {
		skip(SKIP_ICMP_ERROR);
		return true;
	}
	if (!egress && has_ports(protocol) && is_raw_copy(skb, t->dest)) {
		skip(SKIP_RAW_COPY);
		return true;
	}
	return false;
}

static __always_inline int count4(struct __sk_buff *skb, const struct iphdr *ip, const void *end, bool egress)
{
	__u32 header = (ip->version_ihl & 15) * 4;
	__u8 protocol = ip->protocol, flags = 0;
	struct transport t = {};

	if (ip->frag_off & bpf_htons(0x1fff)) {
		flags = FLOW_LATER_FRAGMENT;
		note_fragment();
	} else if (header != sizeof(*ip) || !transport_direct((const __u8 *)(ip + 1), end, protocol, &t)) {
		transport_load(skb, header, protocol, &t);
	}
	if (is_left_out(skb, &t, protocol, egress))
		return 1;
	t.words += header / 4;
	t.offset = header;
	struct flow4_key key = {
		.local = egress ? ip->saddr : ip->daddr,
		.remote = egress ? ip->daddr : ip->saddr,
		.local_port = egress ? t.source : t.dest,
		.remote_port = egress ? t.dest : t.source,
		.protocol = protocol,
		.flags = flags,
	};
	return account4(skb, &key, &t, egress);
}

static __always_inline int count6(struct __sk_buff *skb, const struct ipv6hdr *ip, const void *end, bool egress)
{
	__u8 protocol = ip->nexthdr, flags = 0;
	__u32 offset = sizeof(*ip);
	struct transport t = {};

	if (!has_ports(protocol) || !transport_direct((const __u8 *)(ip + 1), end, protocol, &t)) {
		if (skip_extensions(skb, &protocol, &offset)) {
			transport_load(skb, offset, protocol, &t);
		} else {
			flags = FLOW_LATER_FRAGMENT;
			note_fragment();
		}
	}
	if (is_left_out(skb, &t, protocol, egress))
		return 1;
	t.words += offset / 4;
	t.offset = offset;
	struct flow6_key key __attribute__((aligned(8))) = {
		.local_port = egress ? t.source : t.dest,
		.remote_port = egress ? t.dest : t.source,
		.protocol = protocol,
		.flags = flags,
	};
	copy_address(key.local, egress ? ip->saddr : ip->daddr);
	copy_address(key.remote, egress ? ip->daddr : ip->saddr);
	return account6(skb, &key, &t, egress);
}

/* The family is the packet's, not the socket's: a dual-stack socket of family AF_INET6 carries IPv4 too. */
static __always_inline int count(struct __sk_buff *skb, bool egress)
{
	const void *data = (const void *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;
	const struct iphdr *ip4 = data;
	const struct ipv6hdr *ip6 = data;

	if (skb->ifindex == LOOPBACK_IFINDEX || (!egress && skb->pkt_type == PACKET_LOOPBACK))
		return skip(SKIP_LOOPBACK);
	if ((const void *)(ip4 + 1) > end)
		return skip(SKIP_NOT_IP);
	if (ip4->version_ihl >> 4 == 4)
		return count4(skb, ip4, end, egress);
	if (ip4->version_ihl >> 4 == 6 && (const void *)(ip6 + 1) <= end)
		return count6(skb, ip6, end, egress);
	return skip(SKIP_NOT_IP);
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	return count(skb, false);
}

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	return count(skb, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
