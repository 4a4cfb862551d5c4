/* Applies patches from standard input, completely in memory, so that a sanitizer detects every access out of bounds.
 *
 * A request: u32 source size, u32 patch size, u32 bytes per feed, u32 blocks done, u32 target size, u32 whether an index digest
 * is given; digest (32 bytes); source, patch and target of these sizes. A response: u32 status, u32 target size, the target.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "glp1.h"

typedef struct {
    uint8_t *bytes;
    size_t size;
} buffer;

typedef struct {
    buffer source, target;
} files;

static int read_from(const buffer *from, uint64_t offset, uint8_t *into, size_t size) {
    if (offset > from->size || size > from->size - offset) return -1;
    memcpy(into, from->bytes + offset, size);
    return 0;
}

static int read_source(void *user, uint64_t offset, uint8_t *into, size_t size) {
    return read_from(&((files *)user)->source, offset, into, size);
}

static int read_target(void *user, uint64_t offset, uint8_t *into, size_t size) {
    return read_from(&((files *)user)->target, offset, into, size);
}

/* Accepts sequential writes only, because an applier writes from front to back. */
static int write_target(void *user, uint64_t offset, const uint8_t *bytes, size_t size) {
    buffer *target = &((files *)user)->target;
    if (offset != target->size) abort();
    uint8_t *longer = realloc(target->bytes, target->size + size);
    if (longer == NULL) return -1;
    memcpy(longer + target->size, bytes, size);
    target->bytes = longer;
    target->size += size;
    return 0;
}

static buffer take(size_t size) {
    buffer b = {malloc(size ? size : 1), size};
    if (b.bytes == NULL || fread(b.bytes, 1, size, stdin) != size) exit(3);
    return b;
}

/* Feeds copies of the exact size, so that a read past the end is detected. */
static glp1_status feed(glp1 *applier, const buffer *patch, size_t each) {
    while (!glp1_is_complete(applier) && glp1_position(applier) < patch->size) {
        size_t left = patch->size - (size_t)glp1_position(applier), size = left < each ? left : each;
        uint8_t *piece = malloc(size);
        if (piece == NULL) exit(3);
        memcpy(piece, patch->bytes + glp1_position(applier), size);
        glp1_status status = glp1_feed(applier, piece, size);
        free(piece);
        if (status != GLP1_OK) return status;
    }
    return glp1_finish(applier);
}

int main(void) {
    uint32_t head[6];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        buffer digest = take(32), source = take(head[0]), patch = take(head[1]);
        files f = {source, take(head[4])};
        glp1_io io = {&f, read_source, write_target, read_target, NULL};
        glp1 *applier = glp1_new(&io, NULL, head[5] ? digest.bytes : NULL, head[3]);
        uint32_t answer[2] = {(uint32_t)feed(applier, &patch, head[2]), (uint32_t)f.target.size};
        glp1_free(applier);
        fwrite(answer, sizeof answer, 1, stdout);
        fwrite(f.target.bytes, 1, f.target.size, stdout);
        fflush(stdout);
        free(f.target.bytes);
        free(source.bytes);
        free(patch.bytes);
        free(digest.bytes);
    }
    return 0;
}
