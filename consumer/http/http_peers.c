#include "consumer/http/http_peers.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

void http_peers_init(struct http_peers *peers)
{
    memset(peers, 0, sizeof *peers);
    peers->ring.before = peers->ring.after = &peers->ring;
}

// The network part of an IPv6 address is what a client is given as a whole.
static uint32_t count_of(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    uint64_t key = 0;
    if (address && address->sa_family == AF_INET)
        key = v4->sin_addr.s_addr;
    else if (address && address->sa_family == AF_INET6)
        memcpy(&key, &v6->sin6_addr, sizeof key);
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 54);
}
_Static_assert(HTTP_ADDRESSES == 1 << (64 - 54), "a count for each value of the hash");

static void take_out(struct http_peers *peers, struct http_peer *peer)
{
    assert(peers->open > 0);
    assert(peers->of_address[peer->address] > 0);
    assert(!peer->ended);
    peer->before->after = peer->after;
    peer->after->before = peer->before;
    peers->of_address[peer->address]--;
    peers->open--;
}

static void put_newest(struct http_peers *peers, struct http_peer *peer)
{
    struct http_peer *newest = peers->ring.before;
    peer->before = newest;
    peer->after = &peers->ring;
    newest->after = peer;
    peers->ring.before = peer;
    peers->of_address[peer->address]++;
    peers->open++;
}

// Of the address that has most connections, the one that was answered longest ago.
static struct http_peer *least_missed(const struct http_peers *peers)
{
    uint32_t most = 0;
    for (uint32_t i = 1; i < HTTP_ADDRESSES; i++)
        if (peers->of_address[i] > peers->of_address[most])
            most = i;
    struct http_peer *peer = peers->ring.after;
    while (peer->address != most)
        peer = peer->after;
    return peer;
}

struct http_peer *http_peers_open(struct http_peers *peers, int fd, const struct sockaddr *address,
                                  size_t most)
{
    struct http_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    peer->fd = fd;
    peer->address = count_of(address);
    put_newest(peers, peer);
    if (peers->open > most) {
        struct http_peer *leaves = least_missed(peers);
        take_out(peers, leaves);
        leaves->ended = true;
        shutdown(leaves->fd, SHUT_RDWR);
    }
    assert(peers->open <= most);
    return peer;
}

void http_peers_renew(struct http_peers *peers, struct http_peer *peer)
{
    if (!peer || peer->ended)
        return;
    take_out(peers, peer);
    put_newest(peers, peer);
}

void http_peers_close(struct http_peers *peers, struct http_peer *peer)
{
    if (peer && !peer->ended)
        take_out(peers, peer);
    free(peer);
}
