/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The one home of the structs that the programs and user space share.
 *
 * Addresses and ports are in network byte order, counters in the host's. "Local" is the end whose socket sent or
 * received the packet, "remote" the other one; tx is what the local end sent. Sizes are asserted here and again in
 * src/source/ebpf/mod.rs. Structs have no padding, for the kernel hashes keys as bytes. */
#pragma once

/* The packet is a later fragment: it has no ports, and what ports it belongs to is not known here. */
#define FLOW_LATER_FRAGMENT 1

struct flow4_key {
	__be32 local;
	__be32 remote;
	__be16 local_port; /* 0 where the protocol has none */
	__be16 remote_port;
	__u8 protocol;
	__u8 flags; /* FLOW_* */
	__u16 zero;
};

struct flow6_key {
	__be32 local[4];
	__be32 remote[4];
	__be16 local_port;
	__be16 remote_port;
	__u8 protocol;
	__u8 flags;
	__u16 zero;
};

/* Values of flow_value.first. */
#define FLOW_FIRST_TX 1
#define FLOW_FIRST_RX 2

/* What was counted since the last drain. Everything but the six counters and the bytes on who opened it is written once,
 * when the entry is made. Those bytes are only ever set to 1, so they need no atomic. */
struct flow_value {
	__u64 tx_bytes; /* layer-3 lengths */
	__u64 rx_bytes;
	__u64 tx_packets; /* as the kernel hands them over: a GSO packet is one */
	__u64 rx_packets;
	/* Of packets that are several frames (GSO, GRO): further frames, above them their headers in words of 4 bytes. */
	__u64 tx_more;
	__u64 rx_more;
	__u64 cgroup; /* id of the local socket's cgroup */
	__u8 opened_by_local; /* the local end sent a SYN or INIT, or received the answer to one */
	__u8 opened_by_remote; /* the other way round */
	__u8 first; /* FLOW_FIRST_* */
	__u8 listens; /* TCP begun before: a socket listens on the local port */
	__u8 answered_local; /* the answer to a SYN or INIT of the local end was seen */
	__u8 answered_remote; /* the local end answered one */
	__u16 zero;
};

/* Why a packet is in no row. Every early return of the programs is one of these. */
enum flow_skip {
	SKIP_LOOPBACK, /* rule 1; the sender's own copy of what it sent to many */
	SKIP_NOT_IP, /* neither IPv4 nor IPv6, or its header is out of reach */
	SKIP_ICMP_ERROR, /* errors about a connection, neighbour discovery, multicast listeners: rule 1 */
	SKIP_RAW_COPY, /* a raw socket's copy of what another socket received */
	SKIP_SAME_SEGMENT, /* a segment that was counted at its listener a moment before */
	SKIP_NO_BUFFER, /* no buffer in the slot: cannot be while the agent runs */
	SKIP_MAX,
};

/* Per CPU; grows only. */
struct flow_stats {
	__u64 skipped_packets[SKIP_MAX];
	__u64 lost_tx_bytes; /* found no slot in the buffer */
	__u64 lost_rx_bytes;
	__u64 lost_tx_packets;
	__u64 lost_rx_packets;
	__u64 fragments; /* later fragments, counted without ports */
};

/* How full the buffer in use is; user space zeroes it at each swap. */
struct flow_fill {
	__u32 inserted;
	__u32 woken;
};

/* FLOW_FAMILY_* index the array of flow_fill. */
#define FLOW_FAMILY_V4 0
#define FLOW_FAMILY_V6 1

_Static_assert(sizeof(struct flow4_key) == 16, "key of user space");
_Static_assert(sizeof(struct flow6_key) == 40, "key of user space");
_Static_assert(sizeof(struct flow_value) == 64, "value of user space");
_Static_assert(sizeof(struct flow_stats) == 88, "stats of user space");
_Static_assert(sizeof(struct flow_fill) == 8, "fill of user space");
