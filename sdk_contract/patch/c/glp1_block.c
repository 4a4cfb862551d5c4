/* Decodes coded blocks (§2): lanes, segments, and bsdiff segments (§5). */
#include "glp1_block.h"

enum { MAX_LANES = 64, MAX_SEGMENTS = 4096, MAX_TRIPLES = 65536, MAX_TRIPLE_BYTES = 30 };
enum { COPY, ZERO, LITERAL, DELTA, BSDIFF };

typedef struct {
    uint32_t lane, size;     /* target bytes */
    uint32_t target_offset;  /* in the block */
    uint64_t source_offset;  /* in the source file, if the segment reads from it */
    uint32_t source_size;
} segment;

typedef struct {
    uint8_t kind;
    uint32_t stride, fields;
    uint32_t size, segments; /* total size and number of its segments */
    glp1_field field[GLP1_MAX_FIELDS];
} lane_plan;

typedef struct {
    lane_plan lanes[MAX_LANES];
    uint32_t lane_count;
    segment *segments;
    uint32_t segment_count;
    uint8_t *target;
    const glp1_record *record;
} block;

static glp1_status read_bounded(glp1_decoder *d, uint64_t least, uint64_t most, uint32_t *number) {
    uint64_t wide;
    TRY(glp1_read_varint(d, &wide));
    MUST(wide >= least && wide <= most);
    *number = (uint32_t)wide;
    return GLP1_OK;
}

static glp1_status read_fields(glp1_decoder *d, lane_plan *lane) {
    uint32_t offset = 0;
    TRY(read_bounded(d, 1, GLP1_MAX_STRIDE, &lane->stride));
    TRY(read_bounded(d, 1, GLP1_MAX_FIELDS, &lane->fields));
    for (uint32_t i = 0; i < lane->fields; i++) {
        glp1_field *field = &lane->field[i];
        uint64_t length;
        TRY(glp1_read_varint(d, &length));
        TRY(glp1_read_byte(d, &field->element));
        unsigned width = glp1_element_width(field->element);
        if (width == 0) return GLP1_PATCH_UNSUPPORTED;
        MUST(length > 0 && length <= lane->stride - offset && length % width == 0);
        field->length = (uint32_t)length;
        field->offset = offset;
        offset += field->length;
    }
    MUST(offset == lane->stride);
    return GLP1_OK;
}

static glp1_status read_lanes(glp1_decoder *d, block *b) {
    TRY(read_bounded(d, 1, MAX_LANES, &b->lane_count));
    for (uint32_t i = 0; i < b->lane_count; i++) {
        lane_plan *lane = &b->lanes[i];
        memset(lane, 0, sizeof *lane);
        TRY(glp1_read_byte(d, &lane->kind));
        if (lane->kind > BSDIFF) return GLP1_PATCH_UNSUPPORTED;
        lane->stride = 1;
        if (lane->kind == DELTA) TRY(read_fields(d, lane));
    }
    return GLP1_OK;
}

static bool reads_source(unsigned kind) { return kind == COPY || kind == DELTA || kind == BSDIFF; }

/* Reads a segment's source range. `position` is the end of the previous source range, and is moved to the end of this one. */
static glp1_status read_source_range(glp1_decoder *d, const block *b, segment *s, uint64_t *position, uint64_t *read) {
    const glp1_record *record = b->record;
    int64_t jump;
    TRY(glp1_read_signed(d, &jump));
    s->source_size = s->size;
    if (b->lanes[s->lane].kind == BSDIFF) TRY(read_bounded(d, 0, UINT32_MAX, &s->source_size));
    s->source_offset = *position + (uint64_t)jump; /* modulo 2^64; offsets outside the span fail the checks below */
    uint64_t before = s->source_offset - record->source_offset;
    MUST(s->source_offset >= record->source_offset && before <= record->source_span);
    MUST(s->source_size <= record->source_span - before);
    *position = s->source_offset + s->source_size;
    *read += s->source_size;
    return GLP1_OK;
}

static glp1_status read_segments(glp1_decoder *d, block *b) {
    uint64_t position = b->record->source_offset, read = 0;
    uint32_t produced = 0;
    uint8_t *memory;
    TRY(read_bounded(d, 1, MAX_SEGMENTS, &b->segment_count));
    TRY(glp1_allocate(d, b->segment_count * sizeof(segment), &memory));
    b->segments = (segment *)(void *)memory; /* the arena is aligned to 16 */
    for (uint32_t i = 0; i < b->segment_count; i++) {
        segment *s = &b->segments[i];
        TRY(read_bounded(d, 0, b->lane_count - 1, &s->lane));
        TRY(read_bounded(d, 1, b->record->target_size - produced, &s->size));
        lane_plan *lane = &b->lanes[s->lane];
        MUST(s->size % lane->stride == 0);
        s->target_offset = produced;
        s->source_size = 0;
        if (reads_source(lane->kind)) TRY(read_source_range(d, b, s, &position, &read));
        produced += s->size;
        lane->size += s->size;
        lane->segments++;
    }
    MUST(produced == b->record->target_size && read == b->record->source_size);
    for (uint32_t i = 0; i < b->lane_count; i++) MUST(b->lanes[i].segments > 0);
    return GLP1_OK;
}

static glp1_status read_source(const glp1_decoder *d, uint64_t offset, uint8_t *into, size_t size) {
    if (size && d->io->read_source(d->io->user, offset, into, size) != 0) return GLP1_BASE_MISSING;
    return GLP1_OK;
}

/* Reads all source bytes of a lane to their positions in the target. */
static glp1_status read_lane_source(const glp1_decoder *d, const block *b, uint32_t number) {
    for (uint32_t i = 0; i < b->segment_count; i++) {
        const segment *s = &b->segments[i];
        if (s->lane == number) TRY(read_source(d, s->source_offset, b->target + s->target_offset, s->size));
    }
    return GLP1_OK;
}

/* Returns a contiguous array for a lane's bytes: the target itself for a single segment, otherwise a buffer. */
static glp1_status lane_buffer(glp1_decoder *d, const block *b, uint32_t number, uint8_t **array) {
    if (b->lanes[number].segments > 1) return glp1_allocate(d, b->lanes[number].size, array);
    for (uint32_t i = 0; i < b->segment_count; i++)
        if (b->segments[i].lane == number) *array = b->target + b->segments[i].target_offset;
    return GLP1_OK;
}

static void gather(const block *b, uint32_t number, uint8_t *array) {
    if (b->lanes[number].segments == 1) return;
    for (uint32_t i = 0; i < b->segment_count; i++) {
        const segment *s = &b->segments[i];
        if (s->lane != number) continue;
        memcpy(array, b->target + s->target_offset, s->size);
        array += s->size;
    }
}

static void scatter(const block *b, uint32_t number, const uint8_t *array) {
    if (b->lanes[number].segments == 1) return;
    for (uint32_t i = 0; i < b->segment_count; i++) {
        const segment *s = &b->segments[i];
        if (s->lane != number) continue;
        memcpy(b->target + s->target_offset, array, s->size);
        array += s->size;
    }
}

static glp1_status decode_literal_lane(glp1_decoder *d, const block *b, uint32_t number) {
    uint8_t *array;
    TRY(lane_buffer(d, b, number, &array));
    TRY(glp1_decode_blob(d, array, b->lanes[number].size));
    scatter(b, number, array);
    return GLP1_OK;
}

static glp1_status decode_delta_lane(glp1_decoder *d, const block *b, uint32_t number) {
    const lane_plan *head = &b->lanes[number];
    glp1_lane lane = {NULL, head->size / head->stride, head->stride, head->fields, {{0, 0, 0, NULL}}};
    memcpy(lane.field, head->field, sizeof lane.field);
    TRY(read_lane_source(d, b, number));
    TRY(lane_buffer(d, b, number, &lane.bytes));
    gather(b, number, lane.bytes);
    for (uint32_t i = 0; i < lane.fields; i++) /* floats first, because they may lead others */
        if (glp1_has_exponent(lane.field[i].element)) TRY(glp1_decode_field(d, &lane, i));
    for (uint32_t i = 0; i < lane.fields; i++)
        if (!glp1_has_exponent(lane.field[i].element)) TRY(glp1_decode_field(d, &lane, i));
    scatter(b, number, lane.bytes);
    return GLP1_OK;
}

typedef struct {
    uint64_t add, insert;
    int64_t seek;
} triple;

static glp1_status read_triple(glp1_decoder *control, triple *t) {
    TRY(glp1_read_varint(control, &t->add));
    TRY(glp1_read_varint(control, &t->insert));
    return glp1_read_signed(control, &t->seek);
}

/* First pass over the triples: checks the ranges, and sums the additions. `control` is a copy of the decoder. */
static glp1_status check_triples(glp1_decoder control, const segment *s, uint32_t count, uint32_t *added) {
    uint32_t sum = 0, left = s->size;
    int64_t position = 0;
    for (uint32_t i = 0; i < count; i++) {
        triple t;
        TRY(read_triple(&control, &t));
        MUST(position >= 0 && position <= (int64_t)s->source_size);
        MUST(t.add <= (uint64_t)s->source_size - (uint64_t)position && t.add <= left);
        left -= (uint32_t)t.add;
        MUST(t.insert <= left);
        left -= (uint32_t)t.insert;
        sum += (uint32_t)t.add;
        position += (int64_t)t.add;
        bool far = t.seek > (int64_t)UINT32_MAX || t.seek < -(int64_t)UINT32_MAX; /* outside every range */
        position = far ? -1 : position + t.seek;
    }
    MUST(left == 0 && control.at == control.end);
    *added = sum;
    return GLP1_OK;
}

static glp1_status decode_bsdiff_segment(glp1_decoder *d, const segment *s, uint8_t *target) {
    uint32_t count, size, added;
    uint8_t *bytes, *additions, *insertions;
    TRY(read_bounded(d, 0, MAX_TRIPLES, &count));
    TRY(read_bounded(d, 0, (uint64_t)MAX_TRIPLE_BYTES * count, &size));
    TRY(glp1_read_blob(d, size, &bytes));
    glp1_decoder control = {bytes, bytes + size, NULL, NULL, NULL};
    TRY(check_triples(control, s, count, &added));
    TRY(glp1_read_blob(d, added, &additions));
    TRY(glp1_read_blob(d, s->size - added, &insertions));
    uint64_t position = s->source_offset;
    for (uint32_t i = 0; i < count; i++) {
        triple t;
        TRY(read_triple(&control, &t));
        TRY(read_source(d, position, target, (size_t)t.add));
        for (size_t j = 0; j < t.add; j++) target[j] = (uint8_t)(target[j] + *additions++);
        target += t.add;
        if (t.insert) memcpy(target, insertions, (size_t)t.insert);
        target += t.insert;
        insertions += t.insert;
        position += t.add + (uint64_t)t.seek;
    }
    return GLP1_OK;
}

static glp1_status decode_bsdiff_lane(glp1_decoder *d, const block *b, uint32_t number) {
    for (uint32_t i = 0; i < b->segment_count; i++) {
        const segment *s = &b->segments[i];
        size_t mark = d->arena->used;
        if (s->lane == number) TRY(decode_bsdiff_segment(d, s, b->target + s->target_offset));
        d->arena->used = mark;
    }
    return GLP1_OK;
}

static void fill_zero_lane(const block *b, uint32_t number) {
    for (uint32_t i = 0; i < b->segment_count; i++) {
        const segment *s = &b->segments[i];
        if (s->lane == number) memset(b->target + s->target_offset, 0, s->size);
    }
}

static glp1_status decode_lane(glp1_decoder *d, const block *b, uint32_t number) {
    switch (b->lanes[number].kind) {
    case COPY: return read_lane_source(d, b, number);
    case ZERO: fill_zero_lane(b, number); return GLP1_OK;
    case LITERAL: return decode_literal_lane(d, b, number);
    case DELTA: return decode_delta_lane(d, b, number);
    default: return decode_bsdiff_lane(d, b, number);
    }
}

glp1_status glp1_decode_block(glp1_decoder *d, const glp1_record *record, uint8_t *target) {
    uint8_t *memory;
    TRY(glp1_allocate(d, sizeof(block), &memory)); /* 20 KB are too much for the stack of a small device */
    block *b = (block *)(void *)memory;
    b->target = target;
    b->record = record;
    TRY(read_lanes(d, b));
    TRY(read_segments(d, b));
    for (uint32_t i = 0; i < b->lane_count; i++) {
        size_t mark = d->arena->used;
        TRY(decode_lane(d, b, i));
        d->arena->used = mark;
    }
    MUST(d->at == d->end);
    return GLP1_OK;
}
