// SPDX-License-Identifier: Apache-2.0
// The floor: an ADD and a DEL with the unavoidable work and nothing else. A bridge plugin with
// host-local leases and nftables masquerade can't avoid a lease under the lock, one veth made in
// place, one element, and the container's link up with its address and default route. The floor
// checks nothing, undoes nothing, and knows one network, which the caller has made: see floorSetUp
// in contestant.go.
//
//   CNI_COMMAND=ADD|DEL CNI_CONTAINERID=... CNI_NETNS=... CNI_IFNAME=... floor LEASE-DIRECTORY <FILE
//
// With one more argument, "warm", it attaches container after container in one process, as an
// embedder would. It reads lines of an ID and a namespace's path, and writes the nanoseconds after
// each result.
//
// NETWORK and BITS, its subnet, can be set when it's compiled.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BRIDGE "cnibr0"
#ifndef NETWORK
#define NETWORK 0xac130100u // 172.19.1.0/24
#define BITS 24
#endif
#define BROADCAST (NETWORK | 0xffffffffu >> BITS)
#define GATEWAY (NETWORK + 1)
#define FIRST (NETWORK + 2)
#define LAST (BROADCAST - 1)
#define TABLE "floor"
#define MAP "sources"
#define CHAIN "mynet"

static _Noreturn void die(const char *what) {
	int e = errno;
	const char *why = strerrordesc_np(e);
	if (write(2, what, strlen(what)) < 0 || write(2, ": ", 2) < 0 || write(2, why, strlen(why)) < 0) _exit(2);
	_exit(1);
}

static char *cat(char *at, const char *text) { return stpcpy(at, text); }

static char *cat_number(char *at, unsigned n) {
	if (n >= 10) at = cat_number(at, n / 10);
	*at++ = '0' + n % 10;
	*at = 0;
	return at;
}

static char *cat_address(char *at, unsigned address) {
	for (int shift = 24; shift >= 0; shift -= 8) {
		at = cat_number(at, address >> shift & 255);
		if (shift) at = cat(at, ".");
	}
	return at;
}

static unsigned parse_address(const char *text) {
	unsigned address = 0, byte = 0;
	for (; (*text >= '0' && *text <= '9') || *text == '.'; text++) {
		if (*text == '.') address = address << 8 | byte, byte = 0;
		else byte = byte * 10 + (*text - '0');
	}
	return address << 8 | byte;
}

// Netlink messages, one after another in one buffer.
static char buffer[2048];
static char *end = buffer;
static struct nlmsghdr *message;

static void *put_raw(const void *data, size_t size) {
	char *at = end;
	memset(at, 0, NLMSG_ALIGN(size));
	if (data) memcpy(at, data, size);
	end += NLMSG_ALIGN(size);
	if (message) message->nlmsg_len = end - (char *)message;
	return at;
}

static void begin(int type, int flags, const void *body, size_t size) {
	message = (struct nlmsghdr *)end;
	put_raw(NULL, sizeof *message);
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	put_raw(body, size);
}

static void put(int type, const void *data, size_t size) {
	struct nlattr header = {.nla_len = NLA_HDRLEN + size, .nla_type = type};
	put_raw(&header, sizeof header);
	put_raw(data, size);
}

static void put_string(int type, const char *text) { put(type, text, strlen(text) + 1); }
static void put_u32(int type, unsigned value) { put(type, &value, sizeof value); }

static struct nlattr *nest(int type) {
	struct nlattr header = {.nla_len = NLA_HDRLEN, .nla_type = type | NLA_F_NESTED};
	return put_raw(&header, sizeof header);
}

static void close_nest(struct nlattr *n) { n->nla_len = end - (char *)n; }

// exchange sends the buffer and waits for the one answer that was asked for. "absent", if it isn't
// 0, is an error that counts as success.
static void exchange(int fd, int absent, const char *what) {
	size_t size = end - buffer;
	end = buffer, message = NULL;
	static const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	if (sendto(fd, buffer, size, 0, (const struct sockaddr *)&kernel, sizeof kernel) < 0) die(what);
	static char answer[4096];
	ssize_t n = recv(fd, answer, sizeof answer, 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr))) die(what);
	struct nlmsgerr *e = NLMSG_DATA((struct nlmsghdr *)answer);
	if (e->error && -e->error != absent) {
		errno = -e->error;
		die(what);
	}
}

static int netlink(int protocol) {
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0) die("netlink socket");
	return fd;
}

// host_name derives the host end's name from the container, so that DEL needn't look for it.
static char *host_name(const char *container) {
	static char name[IFNAMSIZ] = "fl";
	unsigned hash = 2166136261u;
	for (; *container; container++) hash = (hash ^ (unsigned char)*container) * 16777619u;
	for (int i = 0; i < 8; i++, hash >>= 4) name[2 + i] = "0123456789abcdef"[hash & 15];
	return name;
}

static int lock(void) {
	int fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) < 0) die("lock");
	return fd;
}

// reserve takes the next free address after the last one, as host-local does. A symbolic link leads
// from the owner to it, so that DEL needn't search either.
static unsigned reserve(const char *owner, const char *lease, size_t size) {
	int locked = lock();
	char text[16] = "";
	int last = open("last_reserved_ip.0", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ssize_t before = read(last, text, sizeof text - 1);
	if (last < 0 || before < 0) die("last_reserved_ip.0");
	unsigned start = before ? parse_address(text) : LAST, address = start;
	for (;;) {
		address = address >= LAST ? FIRST : address + 1;
		char *text_end = cat_address(text, address);
		int fd = open(text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0) {
			if (write(fd, lease, size) < 0) die("lease");
			if (pwrite(last, text, text_end - text, 0) < 0) die("last_reserved_ip.0");
			if (text_end - text < before && ftruncate(last, text_end - text) < 0) die("last_reserved_ip.0");
			break;
		}
		if (errno != EEXIST || address == start) die("lease");
	}
	if (symlink(text, owner) < 0) die("owner");
	close(locked);
	return address;
}

static void put_veth(const char *host, const char *peer, int bridge, int netns) {
	struct ifinfomsg up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, none = {0};
	begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &up, sizeof up);
	put_string(IFLA_IFNAME, host);
	put_u32(IFLA_MASTER, bridge);
	put_u32(IFLA_NUM_TX_QUEUES, 1);
	put_u32(IFLA_NUM_RX_QUEUES, 1);
	struct nlattr *info = nest(IFLA_LINKINFO);
	put_string(IFLA_INFO_KIND, "veth");
	struct nlattr *data = nest(IFLA_INFO_DATA), *other = nest(VETH_INFO_PEER);
	put_raw(&none, sizeof none);
	put_string(IFLA_IFNAME, peer);
	put_u32(IFLA_NUM_TX_QUEUES, 1);
	put_u32(IFLA_NUM_RX_QUEUES, 1);
	put_u32(IFLA_NET_NS_FD, netns);
	close_nest(other), close_nest(data), close_nest(info);
}

static void put_container(const char *name, unsigned address) {
	struct ifinfomsg up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	begin(RTM_NEWLINK, 0, &up, sizeof up);
	put_string(IFLA_IFNAME, name);
	struct ifreq r = {0};
	strncpy(r.ifr_name, name, IFNAMSIZ - 1);
	int fd = netlink(NETLINK_ROUTE); // opened in the container's namespace
	if (ioctl(fd, SIOCGIFINDEX, &r) < 0) die(name);
	unsigned n = htonl(address), gateway = htonl(GATEWAY), broadcast = htonl(BROADCAST);
	struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_prefixlen = BITS, .ifa_index = r.ifr_ifindex};
	begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &a, sizeof a);
	put_u32(IFA_LOCAL, n);
	put_u32(IFA_ADDRESS, n);
	put_u32(IFA_BROADCAST, broadcast);
	struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
	                      .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
	begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &route, sizeof route);
	put_u32(RTA_GATEWAY, gateway);
	put_u32(RTA_OIF, r.ifr_ifindex);
	exchange(fd, 0, "container");
}

static void put_element(int type, int flags, unsigned address, const char *owner) {
	struct nfgenmsg batch = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
	struct nfgenmsg inet = {.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0};
	begin(NFNL_MSG_BATCH_BEGIN, 0, &batch, sizeof batch);
	begin(NFNL_SUBSYS_NFTABLES << 8 | type, NLM_F_ACK | flags, &inet, sizeof inet);
	put_string(NFTA_SET_ELEM_LIST_TABLE, TABLE);
	put_string(NFTA_SET_ELEM_LIST_SET, MAP);
	struct nlattr *elements = nest(NFTA_SET_ELEM_LIST_ELEMENTS), *element = nest(NFTA_LIST_ELEM);
	struct nlattr *key = nest(NFTA_SET_ELEM_KEY);
	put_u32(NFTA_DATA_VALUE, htonl(address));
	close_nest(key);
	if (type == NFT_MSG_NEWSETELEM) {
		struct nlattr *data = nest(NFTA_SET_ELEM_DATA), *verdict = nest(NFTA_DATA_VERDICT);
		put_u32(NFTA_VERDICT_CODE, htonl(NFT_GOTO));
		put_string(NFTA_VERDICT_CHAIN, CHAIN);
		close_nest(verdict), close_nest(data);
		char comment[130] = {0, strlen(owner) + 1}; // type 0 is a comment to nft (libnftnl's udata.h)
		memcpy(comment + 2, owner, comment[1]);
		put(NFTA_SET_ELEM_USERDATA, comment, 2 + comment[1]);
	}
	close_nest(element), close_nest(elements);
	begin(NFNL_MSG_BATCH_END, 0, &batch, sizeof batch);
}

static void add(const char *container, const char *netns_path, const char *name, const char *owner) {
	char lease[256];
	char *lease_end = cat(cat(cat(lease, container), "\r\n"), name);
	unsigned address = reserve(owner, lease, lease_end - lease);
	int netns = open(netns_path, O_RDONLY | O_CLOEXEC), fd = netlink(NETLINK_ROUTE);
	if (netns < 0) die(netns_path);
	struct ifreq bridge = {.ifr_name = BRIDGE};
	if (ioctl(fd, SIOCGIFINDEX, &bridge) < 0) die(BRIDGE);
	put_veth(host_name(container), name, bridge.ifr_ifindex, netns);
	exchange(fd, 0, "veth");
	put_element(NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, address, owner);
	exchange(netlink(NETLINK_NETFILTER), 0, "element");
	if (setns(netns, CLONE_NEWNET) < 0) die("setns");
	put_container(name, address);
	char result[512], *at = cat(result, "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"");
	at = cat(cat(cat(cat(at, name), "\",\"sandbox\":\""), netns_path), "\"}],\"ips\":[{\"interface\":0,\"address\":\"");
	at = cat(cat_number(cat(cat_address(at, address), "/"), BITS), "\",\"gateway\":\"");
	at = cat(cat_address(at, GATEWAY), "\"}],");
	at = cat(cat_address(cat(at, "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\""), GATEWAY), "\"}]}\n");
	if (write(1, result, at - result) < 0) die("result");
}

static void del(const char *container, const char *owner) {
	char text[16];
	int locked = lock();
	ssize_t n = readlink(owner, text, sizeof text - 1);
	if (n < 0) return;
	text[n] = 0;
	put_element(NFT_MSG_DELSETELEM, 0, parse_address(text), owner);
	exchange(netlink(NETLINK_NETFILTER), ENOENT, "element");
	if (unlink(text) < 0 || unlink(owner) < 0) die("lease");
	close(locked);
	struct ifinfomsg none = {0};
	begin(RTM_DELLINK, NLM_F_ACK, &none, sizeof none);
	put_string(IFLA_IFNAME, host_name(container));
	exchange(netlink(NETLINK_ROUTE), ENODEV, "veth");
}

// warm leaves the lock, the namespace and the sockets open meanwhile, and then closes them all at
// once.
static void warm(const char *name) {
	char line[512], owner[256];
	int host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (ssize_t n; host >= 0 && (n = read(0, line, sizeof line - 1)) > 0;) {
		line[n] = 0;
		const char *container = strtok(line, " "), *netns = strtok(NULL, "\n");
		struct timespec start, stop;
		clock_gettime(CLOCK_MONOTONIC, &start);
		cat(cat(cat(owner, container), "-"), name);
		add(container, netns, name, owner);
		if (setns(host, CLONE_NEWNET) < 0) die("setns");
		close_range(host + 1, ~0u, 0);
		clock_gettime(CLOCK_MONOTONIC, &stop);
		char *at = cat_number(line, (stop.tv_sec - start.tv_sec) * 1000000000 + stop.tv_nsec - start.tv_nsec);
		if (write(1, line, cat(at, "\n") - line) < 0) die("time");
	}
}

int main(int argc, char **argv) {
	char configuration[4096], owner[256];
	const char *command = getenv("CNI_COMMAND"), *container = getenv("CNI_CONTAINERID");
	const char *netns = getenv("CNI_NETNS"), *name = getenv("CNI_IFNAME");
	if (argc == 3 && name && strcmp(argv[2], "warm") == 0 && chdir(argv[1]) == 0) return warm(name), 0;
	if (argc != 2 || !command || !container || !netns || !name || strlen(container) > 64 || strlen(name) >= IFNAMSIZ) return 2;
	if (read(0, configuration, sizeof configuration) <= 0 || chdir(argv[1]) < 0) die(argv[1]);
	cat(cat(cat(owner, container), "-"), name); // a slash can't be in a file's name
	if (strcmp(command, "ADD") == 0) add(container, netns, name, owner);
	else del(container, owner);
	return 0;
}
