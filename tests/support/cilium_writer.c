/* Writes Cilium's conntrack maps from the byte tables of the formats alone: shares nothing with the reader.
 *
 * A line on stdin is a command, "ok" or "error: ..." the answer. Paths are pins.
 *   create PATH TYPE KEY_BYTES VALUE_BYTES MAX_ENTRIES     makes and pins a map, in place of what is there
 *   raw PATH HEX_KEY HEX_VALUE                             an entry as it is
 *   put PATH LAYOUT SRC SPORT DST DPORT PROTO KIND NAME=NUMBER...   an entry by its fields
 *   del PATH SRC SPORT DST DPORT PROTO KIND
 *   fill PATH LAYOUT COUNT ADD     COUNT entries of 10.0.1.23 that counted ADD packets (100 bytes each) more
 *   churn PATH ROUNDS              beside all that makes and deletes entries that fill does not make
 *   settle                         waits for the end of churn
 * LAYOUT: a (1.10 to 1.15), b (1.16 to 1.18), c (1.19 on). KIND: out, in, service, related.
 * Fields: rxp rxb txp txb (a), p b (b, c: the sum), backend, natport (c), flags, revnat, txf, rxf, id, txr, rxr.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct key4 {
	uint8_t daddr[4], saddr[4];
	uint8_t dport[2], sport[2];
	uint8_t nexthdr, flags;
};
struct key6 {
	uint8_t daddr[16], saddr[16];
	uint8_t dport[2], sport[2];
	uint8_t nexthdr, flags;
};
/* One set of offsets for the three layouts: what the first 16 bytes are, differs. */
struct value {
	union {
		struct { uint64_t rx_packets, rx_bytes; } a;
		struct { uint64_t reserved, backend_id; } b;
		uint8_t nat_addr[16];
	};
	uint64_t packets, bytes; /* a: tx */
	uint32_t lifetime;
	uint16_t flags;
	uint8_t rev_nat_index[2];
	uint8_t nat_port[2]; /* a, b: ifindex */
	uint8_t tx_flags_seen, rx_flags_seen;
	uint32_t src_sec_id;
	uint32_t last_tx_report, last_rx_report;
};
_Static_assert(sizeof(struct key4) == 14, "key of IPv4");
_Static_assert(sizeof(struct key6) == 38, "key of IPv6");
_Static_assert(sizeof(struct value) == 56, "value");

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int open_pin(const char *path)
{
	/* Paths come again and again: the last few stay open, by name. A pin that was replaced is forgotten by create. */
	static struct { char path[512]; int fd; } known[8];
	static unsigned next;
	for (unsigned i = 0; i < 8; i++)
		if (known[i].path[0] && !strcmp(known[i].path, path)) {
			if (known[i].fd >= 0)
				return known[i].fd;
			known[i].path[0] = 0;
		}
	union bpf_attr attr = {};
	attr.pathname = (uintptr_t)path;
	int fd = bpf(BPF_OBJ_GET, &attr);
	if (fd >= 0) {
		unsigned slot = next++ % 8;
		if (known[slot].path[0])
			close(known[slot].fd);
		snprintf(known[slot].path, sizeof known[slot].path, "%s", path);
		known[slot].fd = fd;
	}
	return fd;
}

static int create(const char *path, uint32_t type, uint32_t key_bytes, uint32_t value_bytes, uint32_t max)
{
	int old = open_pin(path);
	union bpf_attr attr = {};
	attr.map_type = type;
	attr.key_size = key_bytes;
	attr.value_size = value_bytes;
	attr.max_entries = max;
	memcpy(attr.map_name, "cilium_ct_test", 15);
	int fd = bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		return -1;
	unlink(path);
	union bpf_attr pin = {};
	pin.pathname = (uintptr_t)path;
	pin.bpf_fd = fd;
	if (bpf(BPF_OBJ_PIN, &pin))
		return -1;
	/* Whoever has the old one by name has the new one from now on. */
	if (old >= 0 && dup2(fd, old) < 0)
		return -1;
	close(fd);
	return 0;
}

static int update(int fd, const void *key, const void *value)
{
	union bpf_attr attr = {};
	attr.map_fd = fd;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value;
	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

static int forget(int fd, const void *key)
{
	union bpf_attr attr = {};
	attr.map_fd = fd;
	attr.key = (uintptr_t)key;
	return bpf(BPF_MAP_DELETE_ELEM, &attr);
}

/* What a tuple becomes: of OUT, IN and RELATED the originator stands first and ports are what they say; of SERVICE the
 * destination stands first and the ports have changed places. Returns the key's size. */
static int make_key(void *out, const char *src, int sport, const char *dst, int dport, int proto, const char *kind)
{
	int service = !strcmp(kind, "service"), related = !strcmp(kind, "related");
	uint8_t flags = service ? 4 : related ? 2 : !strcmp(kind, "in") ? 1 : 0;
	const char *first = service ? dst : src, *second = service ? src : dst;
	uint16_t d = htons(related ? 0 : service ? sport : dport), s = htons(related ? 0 : service ? dport : sport);
	int v6 = strchr(src, ':') != NULL;
	uint8_t *key = out, *ports = key + (v6 ? 32 : 8);
	if (inet_pton(v6 ? AF_INET6 : AF_INET, first, key) != 1 ||
	    inet_pton(v6 ? AF_INET6 : AF_INET, second, key + (v6 ? 16 : 4)) != 1)
		return -1;
	memcpy(ports, &d, 2);
	memcpy(ports + 2, &s, 2);
	ports[4] = related ? 1 : proto;
	ports[5] = flags;
	return v6 ? sizeof(struct key6) : sizeof(struct key4);
}

static void set(struct value *v, char layout, const char *name, uint64_t n)
{
	uint16_t be = htons(n);
	if (!strcmp(name, "rxp") && layout == 'a') v->a.rx_packets = n;
	else if (!strcmp(name, "rxb") && layout == 'a') v->a.rx_bytes = n;
	else if (!strcmp(name, "txp") || !strcmp(name, "p")) v->packets = n;
	else if (!strcmp(name, "txb") || !strcmp(name, "b")) v->bytes = n;
	else if (!strcmp(name, "backend")) v->b.backend_id = n;
	else if (!strcmp(name, "natport")) memcpy(v->nat_port, &be, 2);
	else if (!strcmp(name, "revnat")) memcpy(v->rev_nat_index, &be, 2);
	else if (!strcmp(name, "flags")) v->flags = n;
	else if (!strcmp(name, "txf")) v->tx_flags_seen = n;
	else if (!strcmp(name, "rxf")) v->rx_flags_seen = n;
	else if (!strcmp(name, "id")) v->src_sec_id = n;
	else if (!strcmp(name, "txr")) v->last_tx_report = n;
	else if (!strcmp(name, "rxr")) v->last_rx_report = n;
}

static int unhex(uint8_t *out, const char *text, int most)
{
	int n = 0;
	unsigned byte;
	for (; n < most && sscanf(text, "%2x", &byte) == 1; text += 2)
		out[n++] = byte;
	return *text ? -1 : n;
}

static int fill(int fd, char layout, unsigned from, unsigned count, uint64_t packets)
{
	for (unsigned i = from; i < from + count; i++) {
		uint8_t key[38];
		char dst[16];
		struct value v = { .packets = packets, .bytes = packets * 100, .flags = 0x10, .tx_flags_seen = 0x1a,
				   .rx_flags_seen = 0x1a, .last_tx_report = 1000, .last_rx_report = 1000 };
		if (layout == 'a')
			v.a.rx_packets = packets, v.a.rx_bytes = packets * 100;
		snprintf(dst, sizeof dst, "10.%u.%u.%u", 2 + (i >> 16), i >> 8 & 255, i & 255);
		make_key(key, "10.0.1.23", 40000, dst, 80, 6, "out");
		if (update(fd, key, &v))
			return -1;
	}
	return 0;
}

static int run(char *line)
{
	char *save, *verb = strtok_r(line, " ", &save), *words[40] = {};
	unsigned n = 0;
	for (char *w; n < 40 && (w = strtok_r(NULL, " ", &save)); n++)
		words[n] = w;
	uint8_t key[64] = {}, value[64] = {};
	if (!verb)
		return -1;
	if (!strcmp(verb, "settle"))
		return wait(NULL) < 0 ? -1 : 0;
	if (!n)
		return -1;
	if (!strcmp(verb, "create") && n == 5)
		return create(words[0], atoi(words[1]), atoi(words[2]), atoi(words[3]), atoi(words[4]));
	int fd = open_pin(words[0]);
	if (fd < 0)
		return -1;
	if (!strcmp(verb, "raw") && n == 3)
		return unhex(key, words[1], 64) < 0 || unhex(value, words[2], 64) < 0 ? -1 : update(fd, key, value);
	if (!strcmp(verb, "del") && n == 7) {
		make_key(key, words[1], atoi(words[2]), words[3], atoi(words[4]), atoi(words[5]), words[6]);
		return forget(fd, key);
	}
	if (!strcmp(verb, "fill") && n == 4)
		return fill(fd, words[1][0], 0, atoi(words[2]), atoi(words[3]));
	if (!strcmp(verb, "churn") && n == 2) {
		if (fork())
			return 0;
		for (int round = atoi(words[1]); round > 0; round--)
			for (unsigned i = 0; i < 2000; i++) {
				char dst[16];
				fill(fd, 'a', 4000000 + i, 1, 1);
				snprintf(dst, sizeof dst, "10.%u.%u.%u", 2 + ((4000000 + i) >> 16),
					 (4000000 + i) >> 8 & 255, (4000000 + i) & 255);
				make_key(key, "10.0.1.23", 40000, dst, 80, 6, "out");
				forget(fd, key);
			}
		_exit(0);
	}
	if (!strcmp(verb, "put") && n >= 8) {
		struct value v = {};
		char layout = words[1][0];
		if (make_key(key, words[2], atoi(words[3]), words[4], atoi(words[5]), atoi(words[6]), words[7]) < 0)
			return -1;
		for (unsigned i = 8; i < n; i++) {
			char *number = strchr(words[i], '=');
			if (!number)
				return -1;
			*number++ = 0;
			set(&v, layout, words[i], strtoull(number, NULL, 0));
		}
		return update(fd, key, &v);
	}
	errno = EINVAL;
	return -1;
}

int main(void)
{
	char line[2048];
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (run(line))
			printf("error: %s\n", strerror(errno));
		else
			puts("ok");
		fflush(stdout);
	}
	return 0;
}
