/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The UAPI types and constants that our programs need, copied by hand: clang's BPF target does not find the
 * distribution's <asm/types.h>, and a generated vmlinux.h would be of one kernel. */
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
