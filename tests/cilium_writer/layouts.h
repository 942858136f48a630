/* Keys and values of Cilium's conntrack maps, release by release, as a writer sees them.
 *
 * Written from the byte tables of the map's description alone, by another hand than the reader's
 * (src/wire/cilium_ct.rs), and to stay so: change it when the tables change, never because a test
 * of the reader fails. Little endian, as every machine that the agent is built for.
 */
#ifndef CILIUM_WRITER_LAYOUTS_H
#define CILIUM_WRITER_LAYOUTS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define AT(type, member, offset) \
	static_assert(offsetof(type, member) == (offset), #type "." #member " stands elsewhere")
#define IS(type, bytes) static_assert(sizeof(type) == (bytes), #type " has another size")

/* A number in network byte order. */
typedef uint16_t be16;

/* Keys, unchanged since 1.10. What the members hold is not what they are called: see tuple_of(). */

struct key4 {
	uint8_t daddr[4];
	uint8_t saddr[4];
	be16 dport;
	be16 sport;
	uint8_t nexthdr;
	uint8_t flags;
} __attribute__((packed));
IS(struct key4, 14);
AT(struct key4, daddr, 0);
AT(struct key4, saddr, 4);
AT(struct key4, dport, 8);
AT(struct key4, sport, 10);
AT(struct key4, nexthdr, 12);
AT(struct key4, flags, 13);

struct key6 {
	uint8_t daddr[16];
	uint8_t saddr[16];
	be16 dport;
	be16 sport;
	uint8_t nexthdr;
	uint8_t flags;
} __attribute__((packed));
IS(struct key6, 38);
AT(struct key6, daddr, 0);
AT(struct key6, saddr, 16);
AT(struct key6, dport, 32);
AT(struct key6, sport, 34);
AT(struct key6, nexthdr, 36);
AT(struct key6, flags, 37);

/* Bits of a key's flags. OUT is the absence of IN. */
enum { FLAG_OUT = 0, FLAG_IN = 1, FLAG_RELATED = 2, FLAG_SERVICE = 4 };

/* Bits of a value's u16 at 36. */
enum {
	MARK_RX_CLOSING = 1 << 0,
	MARK_TX_CLOSING = 1 << 1,
	MARK_NAT46 = 1 << 2,
	MARK_LB_LOOPBACK = 1 << 3,
	MARK_SEEN_NON_SYN = 1 << 4,
	MARK_NODE_PORT = 1 << 5,
	MARK_PROXY_REDIRECT = 1 << 6,
	MARK_DSR = 1 << 7,
	MARK_FROM_L7LB = 1 << 8,
	MARK_AUTH_REQUIRED = 1 << 9,
	MARK_FROM_TUNNEL = 1 << 10,
};

/* A: 1.10 to 1.15. Received and sent apart, as the local end sees them. */
struct value_a {
	uint64_t rx_packets;
	union {
		uint64_t rx_bytes;
		uint64_t backend_id; /* of SERVICE entries */
	};
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint32_t lifetime;
	uint16_t marks;
	be16 rev_nat_index;
	uint16_t ifindex;
	uint8_t tx_flags_seen;
	uint8_t rx_flags_seen;
	uint32_t src_sec_id;
	uint32_t last_tx_report;
	uint32_t last_rx_report;
};
IS(struct value_a, 56);
AT(struct value_a, rx_packets, 0);
AT(struct value_a, rx_bytes, 8);
AT(struct value_a, backend_id, 8);
AT(struct value_a, tx_packets, 16);
AT(struct value_a, tx_bytes, 24);
AT(struct value_a, lifetime, 32);
AT(struct value_a, marks, 36);
AT(struct value_a, rev_nat_index, 38);
AT(struct value_a, ifindex, 40);
AT(struct value_a, tx_flags_seen, 42);
AT(struct value_a, rx_flags_seen, 43);
AT(struct value_a, src_sec_id, 44);
AT(struct value_a, last_tx_report, 48);
AT(struct value_a, last_rx_report, 52);

/* B: 1.16 to 1.18. One pair for both directions. */
struct value_b {
	uint64_t reserved;
	uint64_t backend_id; /* of SERVICE entries */
	uint64_t packets;
	uint64_t bytes;
	uint32_t lifetime;
	uint16_t marks;
	be16 rev_nat_index;
	uint16_t ifindex; /* reserved from 1.18 */
	uint8_t tx_flags_seen;
	uint8_t rx_flags_seen;
	uint32_t src_sec_id;
	uint32_t last_tx_report;
	uint32_t last_rx_report;
};
IS(struct value_b, 56);
AT(struct value_b, reserved, 0);
AT(struct value_b, backend_id, 8);
AT(struct value_b, packets, 16);
AT(struct value_b, bytes, 24);
AT(struct value_b, lifetime, 32);
AT(struct value_b, marks, 36);
AT(struct value_b, rev_nat_index, 38);
AT(struct value_b, ifindex, 40);
AT(struct value_b, tx_flags_seen, 42);
AT(struct value_b, rx_flags_seen, 43);
AT(struct value_b, src_sec_id, 44);
AT(struct value_b, last_tx_report, 48);
AT(struct value_b, last_rx_report, 52);

/* C: 1.19 and later. As B, with an address where A counted what was received. */
struct value_c {
	union {
		uint8_t nat_addr[16]; /* an IPv4 address stands in the last four bytes */
		struct {
			uint64_t reserved;
			uint64_t backend_id; /* of SERVICE entries */
		};
	};
	uint64_t packets;
	uint64_t bytes;
	uint32_t lifetime;
	uint16_t marks;
	be16 rev_nat_index;
	be16 nat_port;
	uint8_t tx_flags_seen;
	uint8_t rx_flags_seen;
	uint32_t src_sec_id;
	uint32_t last_tx_report;
	uint32_t last_rx_report;
};
IS(struct value_c, 56);
AT(struct value_c, nat_addr, 0);
AT(struct value_c, reserved, 0);
AT(struct value_c, backend_id, 8);
AT(struct value_c, packets, 16);
AT(struct value_c, bytes, 24);
AT(struct value_c, lifetime, 32);
AT(struct value_c, marks, 36);
AT(struct value_c, rev_nat_index, 38);
AT(struct value_c, nat_port, 40);
AT(struct value_c, tx_flags_seen, 42);
AT(struct value_c, rx_flags_seen, 43);
AT(struct value_c, src_sec_id, 44);
AT(struct value_c, last_tx_report, 48);
AT(struct value_c, last_rx_report, 52);

union value {
	struct value_a a;
	struct value_b b;
	struct value_c c;
};
IS(union value, 56);

union key {
	struct key4 v4;
	struct key6 v6;
};

#endif
