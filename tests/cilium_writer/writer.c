/* Writes entries as Cilium does into pinned conntrack maps, told what by lines on stdin:
 *
 *   map NAME [type=N] [key=N] [value=N] [entries=N] [flags=N]          makes a map and pins it, in
 *                                                                      place of what is pinned there
 *   entry LAYOUT ROLE PROTOCOL FIRST SECOND [FIELD=VALUE]...           writes an entry
 *   hit LAYOUT ROLE PROTOCOL FIRST SECOND [FIELD=VALUE]...             adds to one, as a packet does
 *   delete ROLE PROTOCOL FIRST SECOND                                  deletes one
 *   forget ROLE PROTOCOL FIRST SECOND                                  the same, if there is one
 *   show ROLE PROTOCOL FIRST SECOND                                    prints key and value in hex
 *   raw NAME KEY VALUE                                                 writes bytes, given in hex
 *   sync                                                               prints "ok": all above is done
 *
 * LAYOUT is a (1.10 to 1.15), b (1.16 to 1.18) or c (1.19 and later). ROLE is out, in, service,
 * related-out or related-in. FIRST opened the connection and SECOND answered, as ADDRESS:PORT or
 * [ADDRESS]:PORT; of a service, they are the client and the service's address. PROTOCOL is a name
 * or a number; with family and role it says which of the four maps an entry stands in.
 *
 * FIELDs: rx, tx (a) and sum (b, c) as PACKETS/BYTES, lifetime, marks (names, by commas), revnat,
 * ifindex (a, b), nat as ADDRESS:PORT (c), tcp as the flags seen of TX/RX in hex, identity,
 * reported as TX/RX, backend. What is not given is 0, or with "hit" stays.
 *
 * The one argument is the folder of the pins. The first line that cannot be done ends the program
 * with status 1. Only libc and bpf(2), and nothing of the reader's.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layouts.h"

static const char *folder;
static unsigned long line_number;

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fprintf(stderr, "cilium writer: line %lu: ", line_number);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

/* Words of a line */

static char *rest;

static char *maybe_word(void)
{
	return strtok_r(NULL, " \t\n", &rest);
}

static char *word(const char *what)
{
	char *next = maybe_word();

	if (!next)
		fail("%s is missing", what);
	return next;
}

static uint64_t number(const char *text, int base)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, base);
	if (errno || end == text || *end)
		fail("%s is no number", text);
	return value;
}

/* Cuts "left/right" and returns the right part. */
static char *half(char *text)
{
	char *slash = strchr(text, '/');

	if (!slash)
		fail("%s has no slash", text);
	*slash = 0;
	return slash + 1;
}

/* If a word is "name=value", its value. */
static char *value_of(char *text, const char *name)
{
	size_t length = strlen(name);

	return strncmp(text, name, length) || text[length] != '=' ? NULL : text + length + 1;
}

/* Addresses, connections, keys */

struct end {
	bool v6;
	uint8_t address[16]; /* the first four bytes, if IPv4 */
	uint16_t port;
};

static struct end end_of(char *text)
{
	struct end end = { .v6 = *text == '[' };
	char *colon = strrchr(text, ':');

	if (!colon)
		fail("%s has no port", text);
	*colon = 0;
	uint64_t port = number(colon + 1, 10);
	if (port > 65535)
		fail("%s is no port", colon + 1);
	end.port = port;
	if (end.v6) {
		if (colon[-1] != ']')
			fail("%s is not closed", text);
		colon[-1] = 0;
		text += 1;
	}
	if (inet_pton(end.v6 ? AF_INET6 : AF_INET, text, end.address) != 1)
		fail("%s is no address", text);
	return end;
}

struct entry {
	const char *map;
	uint8_t flags;
	union key key;
};

static uint8_t flags_of(const char *role)
{
	if (!strcmp(role, "out"))
		return FLAG_OUT;
	if (!strcmp(role, "in"))
		return FLAG_IN;
	if (!strcmp(role, "service"))
		return FLAG_SERVICE;
	if (!strcmp(role, "related-out"))
		return FLAG_RELATED | FLAG_OUT;
	if (!strcmp(role, "related-in"))
		return FLAG_RELATED | FLAG_IN;
	fail("%s is no role", role);
}

static uint8_t protocol_of(const char *name)
{
	static const struct {
		const char *name;
		uint8_t number;
	} known[] = { { "icmp", 1 }, { "tcp", 6 }, { "udp", 17 }, { "icmpv6", 58 }, { "sctp", 132 } };

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(name, known[i].name))
			return known[i].number;
	return number(name, 10);
}

/* Of OUT and IN entries the opener's address is in daddr and the answerer's in saddr, while the
 * ports are what they are called: sport the opener's, dport the answerer's. Of SERVICE entries the
 * addresses are what they are called (saddr the client's, daddr the service's) and the ports are
 * not: dport is the client's, sport the service's. */
static struct entry tuple_of(void)
{
	uint8_t flags = flags_of(word("the role"));
	uint8_t protocol = protocol_of(word("the protocol"));
	struct end opener = end_of(word("who opened it"));
	struct end answerer = end_of(word("who answered"));
	struct entry entry = { .flags = flags };
	bool service = flags & FLAG_SERVICE;
	const struct end *daddr = service ? &answerer : &opener;
	const struct end *saddr = service ? &opener : &answerer;
	be16 dport = htons(service ? opener.port : answerer.port);
	be16 sport = htons(service ? answerer.port : opener.port);

	if (opener.v6 != answerer.v6)
		fail("the ends are of two families");
	if (opener.v6) {
		struct key6 *key = &entry.key.v6;

		memcpy(key->daddr, daddr->address, sizeof(key->daddr));
		memcpy(key->saddr, saddr->address, sizeof(key->saddr));
		key->dport = dport;
		key->sport = sport;
		key->nexthdr = protocol;
		key->flags = flags;
		entry.map = protocol == 6 ? "cilium_ct6_global" : "cilium_ct_any6_global";
	} else {
		struct key4 *key = &entry.key.v4;

		memcpy(key->daddr, daddr->address, sizeof(key->daddr));
		memcpy(key->saddr, saddr->address, sizeof(key->saddr));
		key->dport = dport;
		key->sport = sport;
		key->nexthdr = protocol;
		key->flags = flags;
		entry.map = protocol == 6 ? "cilium_ct4_global" : "cilium_ct_any4_global";
	}
	return entry;
}

/* Maps */

static long bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static void path_of(char path[512], const char *name)
{
	if (snprintf(path, 512, "%s/%s", folder, name) >= 512)
		fail("%s/%s is too long", folder, name);
}

enum { PINS = 8 };

static struct pin {
	char name[32];
	int fd;
} open_pins[PINS];

static void close_pins(void)
{
	for (size_t i = 0; i < PINS; i++)
		if (open_pins[i].name[0]) {
			close(open_pins[i].fd);
			open_pins[i].name[0] = 0;
		}
}

/* A pinned map, kept open until a line makes one. */
static int map_of(const char *name)
{
	struct pin *pin;
	char path[512];
	union bpf_attr attr;

	for (pin = open_pins; pin < open_pins + PINS && pin->name[0]; pin++)
		if (!strcmp(pin->name, name))
			return pin->fd;
	if (pin == open_pins + PINS || strlen(name) >= sizeof(pin->name))
		fail("there is no room for %s", name);
	path_of(path, name);
	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	pin->fd = bpf(BPF_OBJ_GET, &attr);
	if (pin->fd < 0)
		fail("opening %s: %s", path, strerror(errno));
	strcpy(pin->name, name);
	return pin->fd;
}

static void make_map(void)
{
	char *name = word("the map's name"), *option, *text;
	char path[512];
	union bpf_attr attr;

	close_pins();
	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_LRU_HASH;
	attr.key_size = strchr(name, '6') ? sizeof(struct key6) : sizeof(struct key4);
	attr.value_size = sizeof(union value);
	attr.max_entries = 4096;
	/* The kernel keeps 15 characters of a name; the pin's is whole. */
	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	while ((option = maybe_word())) {
		if ((text = value_of(option, "type"))) {
			attr.map_type = number(text, 10);
		} else if ((text = value_of(option, "key"))) {
			attr.key_size = number(text, 10);
		} else if ((text = value_of(option, "value"))) {
			attr.value_size = number(text, 10);
		} else if ((text = value_of(option, "entries"))) {
			attr.max_entries = number(text, 10);
		} else if ((text = value_of(option, "flags"))) {
			attr.map_flags = number(text, 0);
		} else {
			fail("%s says nothing of a map", option);
		}
	}
	int fd = bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		fail("making %s: %s", name, strerror(errno));
	path_of(path, name);
	if (unlink(path) && errno != ENOENT)
		fail("removing %s: %s", path, strerror(errno));
	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	attr.bpf_fd = fd;
	if (bpf(BPF_OBJ_PIN, &attr))
		fail("pinning %s: %s", path, strerror(errno));
	close(fd);
}

static void update(const char *map, const void *key, const void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map_of(map);
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value;
	attr.flags = BPF_ANY;
	if (bpf(BPF_MAP_UPDATE_ELEM, &attr))
		fail("writing into %s: %s", map, strerror(errno));
}

static bool look_up(const struct entry *entry, union value *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map_of(entry->map);
	attr.key = (uintptr_t)&entry->key;
	attr.value = (uintptr_t)value;
	if (!bpf(BPF_MAP_LOOKUP_ELEM, &attr))
		return true;
	if (errno != ENOENT)
		fail("reading %s: %s", entry->map, strerror(errno));
	return false;
}

/* Values */

static uint16_t mark_of(const char *name)
{
	static const struct {
		const char *name;
		uint16_t bit;
	} known[] = {
		{ "rx_closing", MARK_RX_CLOSING },
		{ "tx_closing", MARK_TX_CLOSING },
		{ "nat46", MARK_NAT46 },
		{ "lb_loopback", MARK_LB_LOOPBACK },
		{ "seen_non_syn", MARK_SEEN_NON_SYN },
		{ "node_port", MARK_NODE_PORT },
		{ "proxy_redirect", MARK_PROXY_REDIRECT },
		{ "dsr", MARK_DSR },
		{ "from_l7lb", MARK_FROM_L7LB },
		{ "auth_required", MARK_AUTH_REQUIRED },
		{ "from_tunnel", MARK_FROM_TUNNEL },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(name, known[i].name))
			return known[i].bit;
	fail("%s is no mark", name);
}

static uint16_t marks_of(char *names)
{
	uint16_t marks = 0;
	char *at, *name;

	for (name = strtok_r(names, ",", &at); name; name = strtok_r(NULL, ",", &at))
		marks |= mark_of(name);
	return marks;
}

/* Adds "packets/bytes" to a pair. */
static void count(char *pair, uint64_t *packets, uint64_t *bytes)
{
	char *right = half(pair);

	*packets += number(pair, 10);
	*bytes += number(right, 10);
}

/* A member that all layouts have: set by its own name in each. */
#define SET(member, text) \
	do { \
		uint64_t set = (text); \
		switch (layout) { \
		case 'a': value->a.member = set; break; \
		case 'b': value->b.member = set; break; \
		case 'c': value->c.member = set; break; \
		} \
	} while (0)

static void apply(char layout, union value *value, char *field)
{
	char *text, *right;

	if ((text = value_of(field, "rx")) && layout == 'a') {
		count(text, &value->a.rx_packets, &value->a.rx_bytes);
	} else if ((text = value_of(field, "tx")) && layout == 'a') {
		count(text, &value->a.tx_packets, &value->a.tx_bytes);
	} else if ((text = value_of(field, "sum")) && layout == 'b') {
		count(text, &value->b.packets, &value->b.bytes);
	} else if ((text = value_of(field, "sum")) && layout == 'c') {
		count(text, &value->c.packets, &value->c.bytes);
	} else if ((text = value_of(field, "ifindex")) && layout == 'a') {
		value->a.ifindex = number(text, 10);
	} else if ((text = value_of(field, "ifindex")) && layout == 'b') {
		value->b.ifindex = number(text, 10);
	} else if ((text = value_of(field, "nat")) && layout == 'c') {
		struct end nat = end_of(text);

		memset(value->c.nat_addr, 0, 16);
		if (nat.v6)
			memcpy(value->c.nat_addr, nat.address, 16);
		else
			memcpy(value->c.nat_addr + 12, nat.address, 4);
		value->c.nat_port = htons(nat.port);
	} else if ((text = value_of(field, "lifetime"))) {
		SET(lifetime, number(text, 10));
	} else if ((text = value_of(field, "marks"))) {
		SET(marks, marks_of(text));
	} else if ((text = value_of(field, "revnat"))) {
		SET(rev_nat_index, htons(number(text, 10)));
	} else if ((text = value_of(field, "tcp"))) {
		right = half(text);
		SET(tx_flags_seen, number(text, 16));
		SET(rx_flags_seen, number(right, 16));
	} else if ((text = value_of(field, "identity"))) {
		SET(src_sec_id, number(text, 10));
	} else if ((text = value_of(field, "reported"))) {
		right = half(text);
		SET(last_tx_report, number(text, 10));
		SET(last_rx_report, number(right, 10));
	} else if ((text = value_of(field, "backend"))) {
		SET(backend_id, number(text, 10));
	} else {
		fail("%s is no field of layout %c", field, layout);
	}
}

/* Lines */

static void write_entry(bool hit)
{
	char *name = word("the layout"), layout = *name, *field;
	union value value;

	if (layout < 'a' || layout > 'c' || name[1])
		fail("layout %s is not known", name);
	struct entry entry = tuple_of();
	memset(&value, 0, sizeof(value));
	if (hit && !look_up(&entry, &value))
		fail("there is no such entry to be hit");
	while ((field = maybe_word()))
		apply(layout, &value, field);
	update(entry.map, &entry.key, &value);
}

static void delete_entry(bool must_exist)
{
	struct entry entry = tuple_of();
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map_of(entry.map);
	attr.key = (uintptr_t)&entry.key;
	if (bpf(BPF_MAP_DELETE_ELEM, &attr) && (must_exist || errno != ENOENT))
		fail("deleting from %s: %s", entry.map, strerror(errno));
}

static void read_hex(uint8_t bytes[64], const char *text)
{
	size_t length = strlen(text);

	if (length % 2 || length > 2 * 64)
		fail("%s is not bytes, or too many", text);
	for (size_t i = 0; i < length / 2; i++) {
		char pair[3] = { text[2 * i], text[2 * i + 1] };

		bytes[i] = number(pair, 16);
	}
}

static void write_raw(void)
{
	const char *map = word("the map's name");
	uint8_t key[64] = { 0 }, value[64] = { 0 };

	read_hex(key, word("the key"));
	read_hex(value, word("the value"));
	update(map, key, value);
}

static void print_hex(const void *bytes, size_t length, char after)
{
	for (size_t i = 0; i < length; i++)
		printf("%02x", ((const uint8_t *)bytes)[i]);
	putchar(after);
}

static void show_entry(void)
{
	struct entry entry = tuple_of();
	union value value;

	if (!look_up(&entry, &value)) {
		puts("none");
		return;
	}
	print_hex(&entry.key, strchr(entry.map, '6') ? sizeof(struct key6) : sizeof(struct key4), ' ');
	print_hex(&value, sizeof(value), '\n');
}

static void obey(char *line)
{
	char *command = strtok_r(line, " \t\n", &rest);

	if (!command || *command == '#')
		return;
	if (!strcmp(command, "map"))
		make_map();
	else if (!strcmp(command, "entry"))
		write_entry(false);
	else if (!strcmp(command, "hit"))
		write_entry(true);
	else if (!strcmp(command, "delete"))
		delete_entry(true);
	else if (!strcmp(command, "forget"))
		delete_entry(false);
	else if (!strcmp(command, "raw"))
		write_raw();
	else if (!strcmp(command, "show"))
		show_entry();
	else if (!strcmp(command, "sync"))
		puts("ok");
	else
		fail("%s is no command", command);
	if (maybe_word())
		fail("there is more than %s takes", command);
	if (!strcmp(command, "sync") || !strcmp(command, "show"))
		fflush(stdout);
}

int main(int count_of_arguments, char **arguments)
{
	static char line[1024];

	if (count_of_arguments != 2) {
		fprintf(stderr, "usage: %s FOLDER < LINES\n", arguments[0]);
		return 2;
	}
	folder = arguments[1];
	while (fgets(line, sizeof(line), stdin)) {
		line_number++;
		if (!strchr(line, '\n') && !feof(stdin))
			fail("the line is too long");
		obey(line);
	}
	return 0;
}
