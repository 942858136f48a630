// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/* Hands DNS questions that local sockets send, and answers that they receive, to user space as they are.
 *
 * Judges nothing: which answer belongs to which question is decided in user space. Only the client's side is looked at
 * (questions at egress, answers at ingress). A server on the same node would show each of them again, and questions of
 * clients on other nodes. On all devices, loopback too: a node's own cache answers there.
 *
 * Reads __sk_buff and the packet, calls helpers, has no loop: see flow.bpf.c. */
#include "kernel.h"
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "dns.h"

/* Each size has its own reservation, for the verifier wants constants. Most answers fit the first, all over UDP with
 * EDNS as resolvers announce it the second; what is longer than the last is cut. */
#define SMALL 256
#define MIDDLE 1280
#define LARGE 4096

/* Ports of servers, network order; 0 is none. */
const volatile __be16 ports[DNS_PORTS_MAX] = { bpf_htons(53) };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 * 1024);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dns_stats);
} stats SEC(".maps");

/* What is known before a record is made. */
struct packet {
	__u32 payload; /* offset of the DNS message or segment */
	__u32 length;
	__be16 source;
	__be16 dest;
	__u8 protocol;
	bool is_v4;
};

static __always_inline bool is_server(__be16 port)
{
	/* The unused of these constants are 0, and the verifier leaves their comparisons out. */
#define IS(N) (ports[N] && ports[N] == port)
	return IS(0) || IS(1) || IS(2) || IS(3) || IS(4) || IS(5) || IS(6) || IS(7);
#undef IS
}

static __always_inline void put_v4(__be32 *to, __be32 address)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = address;
}

/* The ends as the client's socket knows them. A connected socket names them itself. What leaves the host may have been
 * translated by now, for cgroup egress comes after the host's own NAT. Its answer arrives with the ends that the socket
 * knows. */
static __always_inline void put_ends(struct __sk_buff *skb, struct dns_record *r, const struct packet *p, bool is_answer)
{
	r->source_port = p->source;
	r->dest_port = p->dest;
	if (p->is_v4) {
		__be32 addresses[2] = {};

		bpf_skb_load_bytes(skb, 12, addresses, sizeof(addresses));
		put_v4(r->source, addresses[0]);
		put_v4(r->dest, addresses[1]);
	} else {
		bpf_skb_load_bytes(skb, 8, r->source, 16);
		bpf_skb_load_bytes(skb, 24, r->dest, 16);
	}
	if (is_answer || !skb->remote_port)
		return;
	if (!p->is_v4 && (skb->local_ip6[0] | skb->local_ip6[1] | skb->local_ip6[2] | skb->local_ip6[3])) {
		r->source[0] = skb->local_ip6[0];
		r->source[1] = skb->local_ip6[1];
		r->source[2] = skb->local_ip6[2];
		r->source[3] = skb->local_ip6[3];
		r->dest[0] = skb->remote_ip6[0];
		r->dest[1] = skb->remote_ip6[1];
		r->dest[2] = skb->remote_ip6[2];
		r->dest[3] = skb->remote_ip6[3];
	} else if (p->is_v4 && skb->local_ip4) {
		put_v4(r->source, skb->local_ip4);
		put_v4(r->dest, skb->remote_ip4);
	}
	r->source_port = bpf_htons(skb->local_port);
	/* The context shows it in the upper half on machines of little endian. */
	r->dest_port = bpf_htons(bpf_ntohl(skb->remote_port) & 0xffff);
}

/* Copies what a record of the given size holds of the payload; false where there is no room. */
#define DEFINE_HAND_OVER(SIZE)                                                                                \
	struct record_##SIZE {                                                                                \
		struct dns_record head;                                                                       \
		__u8 payload[SIZE];                                                                           \
	};                                                                                                    \
	static __noinline int hand_over_##SIZE(struct __sk_buff *skb, const struct packet *p, bool is_answer) \
	{                                                                                                     \
		struct record_##SIZE *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);                       \
		__u64 last = p->length - 1;                                                                   \
                                                                                                              \
		if (!r)                                                                                       \
			return 0;                                                                             \
		r->head.zero = 0;                                                                             \
		r->head.zero2 = 0;                                                                            \
		r->head.length = p->length;                                                                   \
		r->head.protocol = p->protocol;                                                               \
		r->head.is_answer = is_answer;                                                                \
		r->head.cgroup = bpf_skb_cgroup_id(skb);                                                      \
		put_ends(skb, &r->head, p, is_answer);                                                        \
		/* Counted from 0, so that the verifier sees a length of at least 1: before 6.8 it learns nothing from \
		 * a comparison with 0. The compiler is kept from making other comparisons of it. */       \
		asm volatile("" : "+r"(last));                                                                \
		if (last > SIZE - 1)                                                                          \
			last = SIZE - 1;                                                                      \
		asm volatile("" : "+r"(last));                                                                \
		r->head.copied = bpf_skb_load_bytes(skb, p->payload, r->payload, last + 1) ? 0 : last + 1;    \
		bpf_ringbuf_submit(r, 0);                                                                     \
		return 1;                                                                                     \
	}

DEFINE_HAND_OVER(SMALL)
DEFINE_HAND_OVER(MIDDLE)
DEFINE_HAND_OVER(LARGE)

static __always_inline int hand_over(struct __sk_buff *skb, const struct packet *p, bool is_answer)
{
	__u32 zero = 0;
	struct dns_stats *s = bpf_map_lookup_elem(&stats, &zero);
	int done;

	if (!s)
		return 1;
	if (is_answer)
		s->answers++;
	if (p->length <= SMALL)
		done = hand_over_SMALL(skb, p, is_answer);
	else if (p->length <= MIDDLE)
		done = hand_over_MIDDLE(skb, p, is_answer);
	else
		done = hand_over_LARGE(skb, p, is_answer);
	if (!done && is_answer)
		s->answers_lost++;
	else if (!done)
		s->questions_lost++;
	return 1;
}

/* A packet of a server's port, or to one. `header` is the length of the IP header. */
static __noinline int dns(struct __sk_buff *skb, struct packet *p, __u32 header, bool is_answer)
{
	p->payload = header + 8;
	if (p->protocol == IPPROTO_TCP) {
		__u8 words = 0;

		if (bpf_skb_load_bytes(skb, header + 12, &words, 1))
			return 1;
		p->payload = header + (words >> 4) * 4;
	}
	/* Without payload: TCP's own segments. */
	if (p->payload >= skb->len)
		return 1;
	p->length = skb->len - p->payload;
	return hand_over(skb, p, is_answer);
}

static __always_inline int look(struct __sk_buff *skb, bool is_answer)
{
	const __u8 *data = (const void *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;
	const struct iphdr *ip4 = (const void *)data;
	const struct ipv6hdr *ip6 = (const void *)data;
	struct packet p = {};
	__u32 header;

	if ((const void *)(ip4 + 1) > end)
		return 1;
	if (ip4->version_ihl >> 4 == 4) {
		p.protocol = ip4->protocol;
		p.is_v4 = true;
		header = (ip4->version_ihl & 15) * 4;
	} else if ((const void *)(ip6 + 1) <= end) {
		/* Extension headers are not followed: resolvers do not send any. */
		p.protocol = ip6->nexthdr;
		header = sizeof(*ip6);
	} else {
		return 1;
	}
	if (p.protocol != IPPROTO_UDP && p.protocol != IPPROTO_TCP)
		return 1;
	/* In place where the usual headers are. */
	if (header == sizeof(*ip4) && data + sizeof(*ip4) + 4 <= (const __u8 *)end) {
		p.source = *(const __be16 *)(data + sizeof(*ip4));
		p.dest = *(const __be16 *)(data + sizeof(*ip4) + 2);
	} else if (header == sizeof(*ip6) && data + sizeof(*ip6) + 4 <= (const __u8 *)end) {
		p.source = *(const __be16 *)(data + sizeof(*ip6));
		p.dest = *(const __be16 *)(data + sizeof(*ip6) + 2);
	} else {
		__be16 both[2];

		if (bpf_skb_load_bytes(skb, header, both, sizeof(both)))
			return 1;
		p.source = both[0];
		p.dest = both[1];
	}
	if (!is_server(is_answer ? p.source : p.dest))
		return 1;
	/* Sockets receive whole packets; a later fragment that a raw socket sends has no ports. */
	if (p.is_v4 && ip4->frag_off & bpf_htons(0x1fff))
		return 1;
	return dns(skb, &p, header, is_answer);
}

SEC("cgroup_skb/ingress")
int dns_ingress(struct __sk_buff *skb)
{
	return look(skb, true);
}

SEC("cgroup_skb/egress")
int dns_egress(struct __sk_buff *skb)
{
	return look(skb, false);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
