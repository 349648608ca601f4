// The open connections of a server, in the order in which they were opened or last answered, and
// how many each address has. All of it belongs to the server's thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { HTTP_ADDRESSES = 1024 }; // counts; addresses that share one are taken for one

struct http_peer {
    int fd;
    bool ended; // shut down, and no longer in the ring
    uint32_t address; // which of the counts
    struct http_peer *before, *after;
};

struct http_peers {
    struct http_peer ring; // its `after` is the oldest connection, its `before` the newest
    size_t open;
    uint16_t of_address[HTTP_ADDRESSES];
};

void http_peers_init(struct http_peers *peers);
// A connection was opened. NULL: memory is short; then it is served, and ends by its time-out
// alone. When more than `most` are open, another one is ended: of the address that has most of
// them, the one that was answered longest ago. It is only shut down; the server's loop sees its end
// and closes it.
struct http_peer *http_peers_open(struct http_peers *peers, int fd, const struct sockaddr *address,
                                  size_t most);
// It was asked for something, and becomes the newest. NULL is nothing.
void http_peers_renew(struct http_peers *peers, struct http_peer *peer);
// It is closed: frees it. NULL is nothing.
void http_peers_close(struct http_peers *peers, struct http_peer *peer);
