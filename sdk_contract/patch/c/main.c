/* glp1-apply OLD PATCH NEW [--index-sha256 HEX] [--resume BLOCKS]: a command, and an example of the library.
 *
 * Writes NEW.part, and renames it to NEW once its digest is verified. PATCH is read in small pieces, as from a network; "-" is
 * the standard input. An error is one line on standard error: code, number, and the number of blocks in NEW.part, which is
 * the argument of --resume. Exit status: 0 on success, 11 to 19 for the errors 3001 to 3009, 2 for wrong usage, 1 otherwise.
 */
#define _XOPEN_SOURCE 700
#define _FILE_OFFSET_BITS 64

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "glp1.h"

enum { CHUNK_SIZE = 64 << 10 };

typedef struct {
    int source, target;
} files;

static int read_at(int file, uint64_t offset, uint8_t *into, size_t size) {
    while (size > 0) {
        ssize_t got = pread(file, into, size, (off_t)offset);
        if (got <= 0) return -1;
        into += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

static int read_source(void *user, uint64_t offset, uint8_t *into, size_t size) {
    return read_at(((const files *)user)->source, offset, into, size);
}

static int read_target(void *user, uint64_t offset, uint8_t *into, size_t size) {
    return read_at(((const files *)user)->target, offset, into, size);
}

static int write_target(void *user, uint64_t offset, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        ssize_t done = pwrite(((const files *)user)->target, bytes, size, (off_t)offset);
        if (done <= 0) return -1;
        bytes += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
    return 0;
}

/* After a resume, the input continues at another offset: a file seeks there, a network client requests a range. */
static glp1_status apply_file(glp1 *patch, int file) {
    uint8_t piece[CHUNK_SIZE];
    uint64_t at = 0;
    while (!glp1_is_complete(patch)) {
        if (glp1_position(patch) != at && lseek(file, (off_t)glp1_position(patch), SEEK_SET) < 0) break;
        at = glp1_position(patch);
        ssize_t got = read(file, piece, sizeof piece);
        if (got <= 0) break;
        glp1_status status = glp1_feed(patch, piece, (size_t)got);
        if (status != GLP1_OK) return status;
        at += (uint64_t)got;
    }
    return glp1_finish(patch);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static int parse_sha256(const char *hex, uint8_t digest[32]) {
    if (strlen(hex) != 64) return -1;
    for (int i = 0; i < 32; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) return -1;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

typedef struct {
    const char *path[3]; /* OLD, PATCH, NEW */
    uint8_t index_sha256[32];
    int has_index_digest;
    uint32_t blocks_done;
} arguments;

static int parse(int count, char **words, arguments *a) {
    int paths = 0;
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--index-sha256") == 0 && i + 1 < count) {
            if (parse_sha256(words[++i], a->index_sha256) != 0) return -1;
            a->has_index_digest = 1;
        } else if (strcmp(words[i], "--resume") == 0 && i + 1 < count) {
            a->blocks_done = (uint32_t)strtoul(words[++i], NULL, 10);
        } else if (paths < 3 && (words[i][0] != '-' || strcmp(words[i], "-") == 0)) {
            a->path[paths++] = words[i];
        } else {
            return -1;
        }
    }
    return paths == 3 ? 0 : -1;
}

static int report(glp1_status status, uint32_t blocks) {
    if (status == GLP1_OK) return 0;
    fprintf(stderr, "%s %d: %u blocks done\n", glp1_status_name(status), (int)status, blocks);
    return status >= GLP1_BASE_MISSING ? (int)status - 2990 : 1;
}

static int apply(const arguments *a, const char *part) {
    files f = {open(a->path[0], O_RDONLY), -1};
    if (f.source < 0) return report(GLP1_BASE_MISSING, 0);
    f.target = open(part, O_RDWR | O_CREAT | (a->blocks_done ? 0 : O_TRUNC), 0666);
    if (f.target < 0) return report(GLP1_WRITE_FAILED, 0);
    int file = strcmp(a->path[1], "-") == 0 ? STDIN_FILENO : open(a->path[1], O_RDONLY);
    if (file < 0) return report(GLP1_PATCH_TRUNCATED, 0);
    glp1_io io = {&f, read_source, write_target, read_target, NULL};
    glp1 *patch = glp1_new(&io, NULL, a->has_index_digest ? a->index_sha256 : NULL, a->blocks_done);
    if (patch == NULL) return report(GLP1_NO_MEMORY, 0);
    glp1_status status = apply_file(patch, file);
    if (status == GLP1_OK && (fsync(f.target) != 0 || rename(part, a->path[2]) != 0)) status = GLP1_WRITE_FAILED;
    int code = report(status, glp1_blocks_done(patch));
    glp1_free(patch);
    if (status != GLP1_OK && status != GLP1_PATCH_TRUNCATED) unlink(part); /* cannot be resumed */
    close(file);
    close(f.target);
    close(f.source);
    return code;
}

int main(int count, char **words) {
    arguments a = {{NULL, NULL, NULL}, {0}, 0, 0};
    if (parse(count, words, &a) != 0) {
        fprintf(stderr, "usage: glp1-apply OLD PATCH NEW [--index-sha256 HEX] [--resume BLOCKS]\n");
        return 2;
    }
    size_t length = strlen(a.path[2]);
    char *part = malloc(length + sizeof ".part");
    if (part == NULL) return report(GLP1_NO_MEMORY, 0);
    memcpy(part, a.path[2], length);
    memcpy(part + length, ".part", sizeof ".part");
    int code = apply(&a, part);
    free(part);
    return code;
}
