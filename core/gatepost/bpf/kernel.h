/* What our programs need of the kernel's interface (include/uapi/linux/bpf.h, if_ether.h).
 *
 * Written out here and not taken from the system, so that an object depends on
 * the compiler only. Only what is used; numbers and layouts never change.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define be16(x) ((u16)__builtin_bswap16(x)) /* both ways */
#define be32(x) ((u32)__builtin_bswap32(x))

/* A program: one section "tc/<name>" each. */
#define PROGRAM(name) SECTION("tc/" #name) int name(struct packet *packet)
#define LICENSE char _license[] SECTION("license") = "Dual MIT/GPL"

/* A map: five numbers in the section "maps", read by gatepost.linux.bpf_object. At most
 * 15 letters. Without debug information there are no types, so the sizes are said here. */
struct map {
	u32 type, key_size, value_size, max_entries, flags;
};
#define MAP(name, kind, key, value, entries, how) \
	struct map name SECTION("maps") = { kind, sizeof(key), sizeof(value), entries, how }
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_LRU_HASH = 9, MAP_LPM_TRIE = 11 };
enum { NO_PREALLOC = 1 }; /* of a hash: memory as entries come */

/* What a program of tc sees of a packet: struct __sk_buff. */
struct packet {
	u32 length, kind, mark, queue, protocol; /* the protocol is in network order */
	u32 vlan_present, vlan_tag, vlan_protocol, priority, ingress_device, device;
	u32 class_index, cb[5], hash, class_id;
	u32 data, data_end, napi_id, family;
	u32 remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port;
	u32 data_meta;
	u64 flow_keys, timestamp;
	u32 wire_length, segments;
	u64 socket;
	u32 segment_size;
};
#define DATA(packet) ((u8 *)(long)(packet)->data)
#define DATA_END(packet) ((u8 *)(long)(packet)->data_end)

/* What a program says of a packet. NEXT: not ours, the next filter may look at it. */
enum { NEXT = -1, PASS = 0, DROP = 2 };

enum { IPV4 = 0x0800, IPV6 = 0x86DD };
enum { ICMP = 1, TCP = 6, UDP = 17, FRAGMENT = 44, ICMP6 = 58 };

struct ethernet {
	u8 to[6], from[6];
	u16 type;
};
struct ipv4 {
	u8 version_and_length, service;
	u16 length, id, fragment; /* 0x3fff of `fragment`: part of something longer */
	u8 hops, protocol;
	u16 checksum;
	u32 from, to;
};
struct ipv6 {
	u32 version_and_class;
	u16 length;
	u8 next, hops;
	u32 from[4], to[4];
};
struct udp {
	u16 from, to, length, checksum;
};

/* Functions of the kernel. */
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*clock_ns)(void) = (void *)5;
static u32 (*random_number)(void) = (void *)7;
static long (*store)(struct packet *, u32 offset, const void *from, u32 size, u64 flags) = (void *)9;
static long (*checksum_l3)(struct packet *, u32 offset, u64 from, u64 to, u64 flags) = (void *)10;
static long (*checksum_l4)(struct packet *, u32 offset, u64 from, u64 to, u64 flags) = (void *)11;
static long (*redirect)(u32 device, u64 flags) = (void *)23;
static long (*load)(const struct packet *, u32 offset, void *to, u32 size) = (void *)26;
static s64 (*checksum_difference)(const void *from, u32 from_size, const void *to, u32 to_size,
				  u32 seed) = (void *)28;
static long (*change_type)(struct packet *, u16 protocol, u64 flags) = (void *)31;
static long (*change_tail)(struct packet *, u32 length, u64 flags) = (void *)38;
static long (*pull)(struct packet *, u32 size) = (void *)39;
static long (*change_head)(struct packet *, u32 size, u64 flags) = (void *)43;
static long (*adjust_room)(struct packet *, int size, u32 mode, u64 flags) = (void *)50;
static long (*redirect_neighbour)(u32 device, void *hop, int hop_size, u64 flags) = (void *)152;
static long (*check_mtu)(void *packet, u32 device, u32 *mtu, int difference, u64 flags) = (void *)163;
enum {
	PSEUDO_HEADER = 1 << 4, /* checksum_l4: the addresses are part of it */
	KEEP_NO_CHECKSUM = 1 << 5, /* checksum_l4: 0 is "none" and stays */
	MTU_OF_SEGMENTS = 1, /* check_mtu: a batch may be longer if its parts are not */
	ROOM_AT_NETWORK = 0, /* adjust_room: behind the network header */
};
