/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What a packet says: ports, who opens, where the transport header is. Reads the packet alone; knows no flow, no map and no
 * socket. */
#pragma once

/* At most this many IPv6 extension headers are followed (RFC 8200 4.1 knows seven); a packet with more counts under the
 * header reached. */
#define EXTENSIONS_MAX 7

enum opening {
	OPENING_NO,
	OPENING_ASK, /* TCP SYN, SCTP INIT */
	OPENING_ANSWER, /* TCP SYN+ACK, SCTP INIT ACK */
};

/* The fields of the transport header that a key or a role needs. */
struct transport {
	__be16 source;
	__be16 dest;
	__u32 opening;
	__u32 icmp_error;
	__u32 words; /* length of the header, in words of 4 bytes; of TCP and UDP only */
	__u32 offset; /* where it begins */
};

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static __always_inline __u32 tcp_opening(__u8 flags)
{
	/* FIN 1, SYN 2, RST 4, ACK 16 */
	switch (flags & 0x17) {
	case 0x02:
		return OPENING_ASK;
	case 0x12:
		return OPENING_ANSWER;
	default:
		return OPENING_NO;
	}
}

static __always_inline __u32 sctp_opening(__u8 chunk)
{
	return chunk == 1 ? OPENING_ASK : chunk == 2 ? OPENING_ANSWER : OPENING_NO;
}

/* ICMP for which conntrack creates an entry is traffic of its own; other ICMP is about other traffic. */
static __always_inline __u32 icmp_error(__u8 protocol, __u8 type)
{
	if (protocol == IPPROTO_ICMPV6)
		return type != 128 && type != 129;
	return !(type == 0 || type == 8 || (type >= 13 && type <= 18));
}

/* Reads the transport header in the linear part of the packet. False if it is not complete there. */
static __always_inline bool transport_direct(const __u8 *at, const void *end, __u8 protocol, struct transport *t)
{
	switch (protocol) {
	case IPPROTO_TCP:
		if ((const void *)(at + 14) > end)
			return false;
		t->opening = tcp_opening(at[13]);
		t->words = at[12] >> 4;
		break;
	case IPPROTO_UDP:
		if ((const void *)(at + 4) > end)
			return false;
		t->words = 2;
		break;
	case IPPROTO_SCTP:
		if ((const void *)(at + 13) > end)
			return false;
		t->opening = sctp_opening(at[12]);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if ((const void *)(at + 1) > end)
			return false;
		t->icmp_error = icmp_error(protocol, at[0]);
		return true;
	default:
		return true;
	}
	t->source = *(const __be16 *)at;
	t->dest = *(const __be16 *)(at + 2);
	return true;
}

/* The same by helper, for any offset and for packets in pages. Missing bytes change nothing: a packet with a truncated
 * transport header counts under port 0, so that its bytes are not lost. */
static __always_inline void transport_load(struct __sk_buff *skb, __u32 offset, __u8 protocol, struct transport *t)
{
	__be16 ports[2];
	__u8 byte;

	switch (protocol) {
	case IPPROTO_TCP:
		if (!bpf_skb_load_bytes(skb, offset + 13, &byte, 1))
			t->opening = tcp_opening(byte);
		if (!bpf_skb_load_bytes(skb, offset + 12, &byte, 1))
			t->words = byte >> 4;
		break;
	case IPPROTO_SCTP:
		if (!bpf_skb_load_bytes(skb, offset + 12, &byte, 1))
			t->opening = sctp_opening(byte);
		break;
	case IPPROTO_UDP:
		t->words = 2;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (!bpf_skb_load_bytes(skb, offset, &byte, 1))
			t->icmp_error = icmp_error(protocol, byte);
		return;
	default:
		return;
	}
	if (!bpf_skb_load_bytes(skb, offset, ports, sizeof(ports))) {
		t->source = ports[0];
		t->dest = ports[1];
	}
}

/* Follows the extension headers as conntrack does (ipv6_skip_exthdr) to the transport header. False for a later
 * fragment, which has none. */
static __always_inline bool skip_extensions(struct __sk_buff *skb, __u8 *protocol, __u32 *offset)
{
	int i;

	/* Unrolled. Without CAP_PERFMON the verifier also walks the paths of branch prediction. In a loop those have no end
	 * (6.12: "the sequence of 8193 jumps is too complex"). */
#pragma unroll
	for (i = 0; i < EXTENSIONS_MAX; i++) {
		__u8 header[4];

		switch (*protocol) {
		case NEXTHDR_HOP:
		case NEXTHDR_ROUTING:
		case NEXTHDR_DEST:
		case NEXTHDR_AUTH:
		case NEXTHDR_FRAGMENT:
			break;
		default:
			return true;
		}
		if (bpf_skb_load_bytes(skb, *offset, header, sizeof(header)))
			return true;
		if (*protocol == NEXTHDR_FRAGMENT) {
			*protocol = header[0];
			*offset += 8;
			/* 13 bits of offset, then two reserved and "more". */
			if (header[2] || header[3] & 0xf8)
				return false;
			continue;
		}
		*offset += *protocol == NEXTHDR_AUTH ? (header[1] + 2) * 4 : (header[1] + 1) * 8;
		*protocol = header[0];
	}
	return true;
}

/* In two words of eight bytes rather than four of four (2 ns of 76). Packets need no alignment on the machines we build
 * for; `to` is aligned. */
static __always_inline void copy_address(__be32 *to, const __be32 *from)
{
	__builtin_memcpy(__builtin_assume_aligned(to, 8), __builtin_assume_aligned(from, 8), 16);
}
