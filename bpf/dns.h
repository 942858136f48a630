/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What the DNS programs hand to user space. Sizes are asserted here; src/names/capture.rs reads them. */
#pragma once

/* Ports that answers may come from; the settings refuse more. */
#define DNS_PORTS_MAX 8

/* Before the payload, in the ring buffer. Addresses in network order, IPv4 mapped (::ffff:a.b.c.d); ports too. */
struct dns_record {
	__be32 source[4];
	__be32 dest[4];
	__be16 source_port;
	__be16 dest_port;
	__u16 copied; /* bytes of payload that follow */
	__u16 zero;
	__u32 length; /* bytes of payload that the packet had */
	__u8 protocol;
	__u8 is_answer;
	__u16 zero2;
	__u64 cgroup; /* of the client's socket */
};

/* Per CPU; grows only. */
struct dns_stats {
	__u64 answers; /* seen */
	__u64 answers_lost; /* found no room in the ring buffer */
	__u64 questions_lost;
};

_Static_assert(sizeof(struct dns_record) == 56, "record of user space");
_Static_assert(sizeof(struct dns_stats) == 24, "stats of user space");
