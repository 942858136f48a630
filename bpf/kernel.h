/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The UAPI types and constants that our programs need, copied by hand. clang's BPF target does not find the
 * distribution's <asm/types.h>, and a generated vmlinux.h would be of one kernel. All of it is stable ABI
 * (include/uapi/linux/{bpf,ip,ipv6,if_ether,in}.h). No struct here is kernel-internal, so nothing needs CO-RE, kernel
 * BTF or CAP_PERFMON. */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

/* enum bpf_map_type */
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_ARRAY_OF_MAPS 12
#define BPF_MAP_TYPE_RINGBUF 27

/* Flags of bpf_map_update_elem. */
#define BPF_NOEXIST 1

/* bpf_sk_lookup_*: the network namespace of the packet. */
#define BPF_F_CURRENT_NETNS (-1L)

/* struct bpf_sock.state */
#define BPF_TCP_LISTEN 10

/* struct bpf_sock.type */
#define SOCK_RAW 3

/* Every network namespace makes its loopback device first, and the kernel insists on the number. */
#define LOOPBACK_IFINDEX 1
/* pkt_type (linux/if_packet.h) of what came back to its sender, a multicast group's member. */
#define PACKET_LOOPBACK 5

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58
#define IPPROTO_SCTP 132

/* IPv6 extension headers (RFC 8200; AH is RFC 4302). */
#define NEXTHDR_HOP 0
#define NEXTHDR_ROUTING 43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_AUTH 51
#define NEXTHDR_DEST 60

struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port;
	__be16 dst_port;
	__u16 : 16;
	__u32 dst_ip4;
	__u32 dst_ip6[4];
	__u32 state;
	__s32 rx_queue_mapping;
};

struct bpf_flow_keys;

#define __bpf_md_ptr(type, name)    \
	union {                     \
		type name;          \
		__u64 : 64;         \
	} __attribute__((aligned(8)))

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	__bpf_md_ptr(struct bpf_flow_keys *, flow_keys);
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	__bpf_md_ptr(struct bpf_sock *, sk);
	__u32 gso_size;
	__u32 : 32;
};

struct bpf_sock_tuple {
	union {
		struct {
			__be32 saddr;
			__be32 daddr;
			__be16 sport;
			__be16 dport;
		} ipv4;
		struct {
			__be32 saddr[4];
			__be32 daddr[4];
			__be16 sport;
			__be16 dport;
		} ipv6;
	};
};

/* The headers as bytes in network order; bit fields would depend on the host's order. */
struct iphdr {
	__u8 version_ihl;
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__be16 check;
	__be32 saddr;
	__be32 daddr;
};

_Static_assert(sizeof(struct iphdr) == 20, "RFC 791");

struct ipv6hdr {
	__u8 version_class;
	__u8 flow_label[3];
	__be16 payload_len;
	__u8 nexthdr;
	__u8 hop_limit;
	__be32 saddr[4];
	__be32 daddr[4];
};

_Static_assert(sizeof(struct ipv6hdr) == 40, "RFC 8200");
