/* Reads the payload's bytes, blobs (§2) and runs (§3). */
#include "glp1_block.h"

enum { MAX_DEPTH = 4, MAX_VARINT_BYTES = 10, SCAN_LENGTH = 64 };
enum { ZERO, PLAIN, PACKED, GAPS, SHIFTED, PALETTE };

static const uint8_t ZSTD_MAGIC[4] = {0x28, 0xB5, 0x2F, 0xFD};

glp1_status glp1_allocate(glp1_decoder *d, size_t size, uint8_t **memory) {
    glp1_arena *arena = d->arena;
    if (size > arena->size - arena->used) return GLP1_PATCH_TOO_LARGE;
    *memory = arena->base + arena->used;
    size_t rounded = (size + 15) & ~(size_t)15; /* cannot overflow, because the size is at most the arena's */
    arena->used = rounded > arena->size - arena->used ? arena->size : arena->used + rounded;
    return GLP1_OK;
}

glp1_status glp1_read_bytes(glp1_decoder *d, uint64_t size, uint8_t **bytes) {
    MUST(size <= (uint64_t)(d->end - d->at));
    *bytes = d->at;
    d->at += size;
    return GLP1_OK;
}

glp1_status glp1_read_byte(glp1_decoder *d, uint8_t *byte) {
    MUST(d->at < d->end);
    *byte = *d->at++;
    return GLP1_OK;
}

glp1_status glp1_read_varint(glp1_decoder *d, uint64_t *number) {
    *number = 0;
    for (unsigned i = 0; i < MAX_VARINT_BYTES; i++) {
        uint8_t byte;
        TRY(glp1_read_byte(d, &byte));
        MUST(i < MAX_VARINT_BYTES - 1 || byte <= 1); /* the tenth byte has bit 63 only */
        *number |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) return GLP1_OK;
    }
    return GLP1_PATCH_CORRUPT;
}

glp1_status glp1_read_signed(glp1_decoder *d, int64_t *number) {
    uint64_t n;
    TRY(glp1_read_varint(d, &n));
    *number = (n & 1) ? -(int64_t)(n >> 1) - 1 : (int64_t)(n >> 1);
    return GLP1_OK;
}

/* Decodes a Zstandard frame without its magic number. The magic number temporarily overwrites the four bytes before the frame,
 * which are read already; this avoids a copy of the frame. A payload has at least four bytes before its first blob (§2), and a
 * frame has at least two. */
static glp1_status decode_frame(glp1_decoder *d, uint8_t *out, size_t size) {
    uint64_t length;
    uint8_t *body, before[4];
    TRY(glp1_read_varint(d, &length));
    TRY(glp1_read_bytes(d, length, &body));
    uint8_t *start = body - 4;
    memcpy(before, start, 4);
    memcpy(start, ZSTD_MAGIC, 4);
    size_t whole = (size_t)length + 4, decompressed = (size_t)-1;
    if (ZSTD_getFrameContentSize(start, whole) == size && ZSTD_findFrameCompressedSize(start, whole) == whole)
        decompressed = ZSTD_decompressDCtx(d->zstd, out, size, start, whole); /* an error code is larger than every size */
    memcpy(start, before, 4);
    return decompressed == size ? GLP1_OK : GLP1_PATCH_CORRUPT;
}

glp1_status glp1_decode_blob(glp1_decoder *d, uint8_t *out, size_t size) {
    uint8_t codec, *bytes;
    TRY(glp1_read_byte(d, &codec));
    if (codec == 1) return decode_frame(d, out, size);
    if (codec != 0) return GLP1_PATCH_UNSUPPORTED;
    TRY(glp1_read_bytes(d, size, &bytes));
    if (size) memcpy(out, bytes, size);
    return GLP1_OK;
}

glp1_status glp1_read_blob(glp1_decoder *d, size_t size, uint8_t **bytes) {
    if (d->at < d->end && *d->at == 0) {
        d->at++;
        return glp1_read_bytes(d, size, bytes);
    }
    TRY(glp1_allocate(d, size, bytes));
    return glp1_decode_blob(d, *bytes, size);
}

/* Unpacks tokens of 8 / per bits, the first in the lowest bits, to one byte each. A table of 256 entries, built for each run,
 * costs less than it saves in every run of a relevant size. */
static void unpack(uint8_t *tokens, const uint8_t *packed, size_t n, unsigned per) {
    uint8_t table[256][8];
    unsigned bits = 8 / per, top = (1u << bits) - 1;
    for (unsigned byte = 0; byte < 256; byte++)
        for (unsigned i = 0; i < per; i++) table[byte][i] = (uint8_t)((byte >> (i * bits)) & top);
    size_t full = n / per;
    if (per == 8)
        for (size_t i = 0; i < full; i++) memcpy(tokens + 8 * i, table[packed[i]], 8);
    else if (per == 4)
        for (size_t i = 0; i < full; i++) memcpy(tokens + 4 * i, table[packed[i]], 4);
    else
        for (size_t i = 0; i < full; i++) memcpy(tokens + 2 * i, table[packed[i]], 2);
    if (n > full * per) memcpy(tokens + full * per, table[packed[full]], n - full * per);
}

static size_t count_byte(const uint8_t *bytes, size_t n, uint8_t wanted) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += bytes[i] == wanted;
    return count;
}

/* A range without an escape, which is frequent, is only widened. The other loop has no branch, so `escapes` has one more
 * number than there are escapes. */
GLP1_INLINE void merge(uint8_t *out, const uint8_t *tokens, size_t n, uint8_t top, const uint8_t *escapes, unsigned width) {
    size_t next = 0;
    for (size_t from = 0, to; from < n; from = to) {
        to = n - from > SCAN_LENGTH ? from + SCAN_LENGTH : n;
        if (count_byte(tokens + from, to - from, top) == 0) {
            for (size_t i = from; width > 1 && i < to; i++) glp1_store(out, i, width, tokens[i]);
            continue;
        }
        for (size_t i = from; i < to; i++) {
            uint32_t token = tokens[i], escaped = token == top;
            glp1_store(out, i, width, token + (glp1_load(escapes, next, width) & (0u - escaped)));
            next += escaped;
        }
    }
}

glp1_status glp1_add_escapes(glp1_decoder *d, uint8_t *out, const uint8_t *tokens, size_t n, uint8_t top, unsigned width,
                             unsigned depth) {
    size_t count = count_byte(tokens, n, top);
    uint8_t *escapes;
    TRY(glp1_allocate(d, (count + 1) * width, &escapes));
    memset(escapes + count * width, 0, width);
    TRY(glp1_decode_run(d, escapes, count, width, depth));
    if (width == 1 && count) merge(out, tokens, n, top, escapes, 1);
    if (width == 2) merge(out, tokens, n, top, escapes, 2);
    if (width == 4) merge(out, tokens, n, top, escapes, 4);
    return GLP1_OK;
}

/* Computes (number << shift) | low, where bit b of `low` is in plane b. */
GLP1_INLINE void add_planes(uint8_t *out, size_t n, unsigned shift, const uint8_t *planes, unsigned width) {
    size_t plane = (n + 7) / 8;
    for (size_t i = 0; i < n; i++) {
        uint32_t low = 0;
        for (unsigned b = 0; b < shift; b++) low |= ((uint32_t)planes[b * plane + i / 8] >> (i % 8) & 1) << b;
        glp1_store(out, i, width, glp1_load(out, i, width) << shift | low);
    }
}

static glp1_status decode_packed(glp1_decoder *d, uint8_t *out, size_t n, unsigned width, unsigned depth) {
    uint8_t per, shift, *packed, *tokens = out, *planes = NULL;
    TRY(glp1_read_byte(d, &per));
    TRY(glp1_read_byte(d, &shift));
    MUST((per == 1 || per == 2 || per == 4 || per == 8) && shift < 8 * width);
    if (width > 1) TRY(glp1_allocate(d, n, &tokens));
    if (per == 1) {
        TRY(glp1_decode_blob(d, tokens, n));
    } else {
        TRY(glp1_read_blob(d, (n + per - 1) / per, &packed));
        unpack(tokens, packed, n, per);
    }
    if (shift) TRY(glp1_read_blob(d, shift * ((n + 7) / 8), &planes));
    uint8_t top = (uint8_t)((1u << (8 / per)) - 1);
    TRY(glp1_add_escapes(d, out, tokens, n, top, width, depth + 1));
    if (shift && width == 1) add_planes(out, n, shift, planes, 1);
    if (shift && width == 2) add_planes(out, n, shift, planes, 2);
    if (shift && width == 4) add_planes(out, n, shift, planes, 4);
    return GLP1_OK;
}

static glp1_status decode_gaps(glp1_decoder *d, uint8_t *out, size_t n, unsigned width, unsigned depth) {
    uint64_t count;
    uint8_t *gaps, *values;
    TRY(glp1_read_varint(d, &count));
    MUST(count <= n);
    TRY(glp1_allocate(d, (size_t)count * 4, &gaps));
    TRY(glp1_decode_run(d, gaps, (size_t)count, 4, depth + 1));
    TRY(glp1_allocate(d, (size_t)count * width, &values));
    TRY(glp1_decode_run(d, values, (size_t)count, width, depth + 1));
    memset(out, 0, n * width);
    uint64_t position = 0; /* smallest possible position of the next number */
    for (size_t i = 0; i < count; i++) {
        position += glp1_load(gaps, i, 4);
        MUST(position < n);
        glp1_store(out, (size_t)position++, width, glp1_load(values, i, width) + 1);
    }
    return GLP1_OK;
}

static glp1_status decode_shifted(glp1_decoder *d, uint8_t *out, size_t n, unsigned width, unsigned depth) {
    uint8_t shift;
    TRY(glp1_read_byte(d, &shift));
    MUST(shift < 8 * width);
    TRY(glp1_decode_run(d, out, n, width, depth + 1));
    for (size_t i = 0; i < n; i++) glp1_store(out, i, width, glp1_load(out, i, width) << shift);
    return GLP1_OK;
}

static glp1_status decode_palette(glp1_decoder *d, uint8_t *out, size_t n, unsigned width, unsigned depth) {
    uint8_t colors, *palette, *ranks, *others;
    TRY(glp1_read_byte(d, &colors));
    TRY(glp1_read_bytes(d, (uint64_t)colors * width, &palette));
    TRY(glp1_allocate(d, n, &ranks));
    TRY(glp1_decode_run(d, ranks, n, 1, depth + 1));
    for (size_t i = 0; i < n; i++) MUST(ranks[i] <= colors);
    size_t count = count_byte(ranks, n, colors), next = 0;
    TRY(glp1_allocate(d, count * width, &others));
    TRY(glp1_decode_run(d, others, count, width, depth + 1));
    for (size_t i = 0; i < n; i++) {
        bool other = ranks[i] == colors;
        glp1_store(out, i, width, other ? glp1_load(others, next, width) : glp1_load(palette, ranks[i], width));
        next += other;
    }
    return GLP1_OK;
}

static glp1_status decode_by_mode(glp1_decoder *d, uint8_t *out, size_t n, unsigned width, unsigned depth) {
    uint8_t mode;
    TRY(glp1_read_byte(d, &mode));
    switch (mode) {
    case ZERO: memset(out, 0, n * width); return GLP1_OK;
    case PLAIN: return glp1_decode_blob(d, out, n * width);
    case PACKED: return decode_packed(d, out, n, width, depth);
    case GAPS: return decode_gaps(d, out, n, width, depth);
    case SHIFTED: return decode_shifted(d, out, n, width, depth);
    case PALETTE: return decode_palette(d, out, n, width, depth);
    default: return GLP1_PATCH_UNSUPPORTED;
    }
}

glp1_status glp1_decode_run(glp1_decoder *d, uint8_t *out, size_t n, unsigned width, unsigned depth) {
    MUST(depth <= MAX_DEPTH);
    if (n == 0) return GLP1_OK;
    size_t mark = d->arena->used;
    TRY(decode_by_mode(d, out, n, width, depth));
    d->arena->used = mark;
    return GLP1_OK;
}
