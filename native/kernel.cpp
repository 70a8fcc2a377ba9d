// The arithmetic. Compiled once per instruction set, whose name is INSTRUCTIONS; therefore nothing
// here may come from a header that defines functions: the linker would keep one copy for all.
//
// A block multiplies a few scattered rows with a panel of weights, all sums in registers, and adds
// them to scattered rows of a tile that stays in the cache; so no row is copied to be multiplied.

#include "kernel.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace ws3d {
namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;  // 24 sums in 32 registers
#elif defined(__AVX2__)
constexpr int LANES = 8, ROWS = 4;  // 12 sums in 16 registers
#elif defined(__aarch64__)
constexpr int LANES = 4, ROWS = 8;
#else
constexpr int LANES = 4, ROWS = 4;
#endif
constexpr int WIDTH = 3;  // vectors side by side in a panel
constexpr int64_t PANEL = WIDTH * LANES;

typedef float Vector __attribute__((vector_size(LANES * sizeof(float))));
typedef float Anywhere __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

#ifdef __AVX512BF16__
typedef uint32_t Word;  // two bfloat16
typedef uint16_t Output;
typedef uint32_t Words __attribute__((vector_size(LANES * sizeof(Word))));

inline Vector multiply_add(Vector sum, Word x, Words panel) {
  return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(x), (__m512bh)panel);
}

inline Output rounded(float value) {  // to nearest, ties to even; NaN stays NaN
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return value == value ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : 0x7fc0;
}
#else
typedef float Word;
typedef float Output;
typedef Vector Words;

inline Vector multiply_add(Vector sum, Word x, Words panel) { return sum + x * panel; }

inline Output rounded(float value) { return value; }
#endif

inline int64_t up_to(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

// out[r] += Σ_c in[r][c * stride] * panel[c], for `rows` rows and `width` vectors.
template <int rows, int width>
void block(const Word* const* in, int64_t stride, const Words* panel, int64_t count, float* const* out) {
  Vector sums[rows][width] = {};
  const Word* row[rows];
  for (int r = 0; r < rows; ++r) row[r] = in[r];
  for (int64_t c = 0; c < count; ++c, panel += width) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Word x = row[r][c * stride];
#pragma GCC unroll 3
      for (int w = 0; w < width; ++w) sums[r][w] = multiply_add(sums[r][w], x, panel[w]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    Vector* to = reinterpret_cast<Vector*>(out[r]);
#pragma GCC unroll 3
    for (int w = 0; w < width; ++w) to[w] += sums[r][w];
  }
}

typedef void Block(const Word* const*, int64_t, const Words*, int64_t, float* const*);

template <int width>
Block* of_rows(int rows) {
  static Block* const blocks[] = {
      block<1, width>, block<2, width>, block<3, width>, block<4, width>,
#if defined(__AVX512F__) || defined(__aarch64__)
      block<5, width>, block<6, width>, block<7, width>, block<8, width>,
#endif
  };
  return blocks[rows - 1];
}

Block* block_of(int rows, int64_t width) {
  return width == 1 ? of_rows<1>(rows) : width == 2 ? of_rows<2>(rows) : of_rows<3>(rows);
}

// `count` words, then zeros up to `padded`, whole vectors; `to` is aligned to vectors.
void copy(const void* from, int64_t count, int64_t padded, void* to) {
  const float* source = static_cast<const float*>(from);  // of any words: nothing is computed
  float* target = static_cast<float*>(to);
  int64_t c = 0;
  for (; c + LANES <= count; c += LANES)
    *reinterpret_cast<Anywhere*>(target + c) = *reinterpret_cast<const Anywhere*>(source + c);
  for (; c < count; ++c) __builtin_memcpy(target + c, source + c, sizeof(float));
  for (; c < padded; ++c) target[c] = 0;
}

// The columns are shared evenly among as few panels as they need.
struct Panels {
  int64_t vectors, count;
  explicit Panels(int64_t columns)
      : vectors((columns + LANES - 1) / LANES), count((vectors + WIDTH - 1) / WIDTH) {}
  int64_t begin(int64_t panel) const { return vectors * panel / count; }  // in vectors
};

struct Range {
  int64_t begin, end;
};

int64_t first_not_below(const int64_t* values, int64_t begin, int64_t end, int64_t value) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (values[middle] < value) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

// Pairs of offset k whose outputs are first to last (exclusive).
Range pairs_of(const KernelMap& map, int64_t k, int64_t first, int64_t last) {
  const int64_t begin = first_not_below(map.outputs, map.starts[k], map.starts[k + 1], first);
  const int64_t most = begin + (last - first), stop = map.starts[k + 1];  // outputs are unique
  return {begin, first_not_below(map.outputs, begin, most < stop ? most : stop, last)};
}

void prefetch(const Word* row, int64_t words) {
  for (int64_t c = 0; c < words; c += 64 / sizeof(Word)) __builtin_prefetch(row + c);
}

void convolve_tile(const Convolution& job, int64_t first, int64_t last, char* scratch) {
  const int64_t columns = up_to(job.out_channels, LANES);
  float* sums = reinterpret_cast<float*>(scratch);
  Word* panel = reinterpret_cast<Word*>(sums + (last - first) * columns);
  const Word* features = static_cast<const Word*>(job.features);
  const Word* weight = static_cast<const Word*>(job.weight);
  const int64_t *inputs = job.map.inputs, *outputs = job.map.outputs;
  const Panels panels(job.out_channels);

  for (int64_t i = 0; i < (last - first) * columns; ++i) sums[i] = 0;
  for (int64_t k = 0; k < job.map.volume; ++k, weight += job.in_words * job.out_channels) {
    const Range pairs = pairs_of(job.map, k, first, last);
    if (pairs.begin == pairs.end) continue;
    for (int64_t p = 0; p < panels.count; ++p) {
      const int64_t vector = panels.begin(p), width = panels.begin(p + 1) - vector, column = vector * LANES;
      const int64_t left = job.out_channels - column, step = width * LANES;
      for (int64_t c = 0; c < job.in_words; ++c)
        copy(weight + c * job.out_channels + column, left < step ? left : step, step, panel + c * step);
      Block* const whole = block_of(ROWS, width);
      for (int64_t pair = pairs.begin; pair < pairs.end; pair += ROWS) {
        const int rows = pairs.end - pair < ROWS ? pairs.end - pair : ROWS;
        const Word* in[ROWS];
        float* out[ROWS];
        for (int r = 0; r < rows; ++r) {
          in[r] = features + inputs[pair + r] * job.in_words;
          out[r] = sums + (outputs[pair + r] - first) * columns + column;
        }
        if (p == 0)
          for (int64_t next = pair + ROWS; next < pair + 2 * ROWS && next < pairs.end; ++next)
            prefetch(features + inputs[next] * job.in_words, job.in_words);
        Block* const multiply = rows == ROWS ? whole : block_of(rows, width);
        multiply(in, 1, reinterpret_cast<const Words*>(panel), job.in_words, out);
      }
    }
  }
  Output* out = static_cast<Output*>(job.out) + first * job.out_channels;
  for (int64_t row = first; row < last; ++row, sums += columns, out += job.out_channels)
    for (int64_t c = 0; c < job.out_channels; ++c) out[c] = rounded(sums[c]);
}

int64_t convolve_scratch(const Convolution& job, int64_t rows) {
  return rows * up_to(job.out_channels, LANES) * sizeof(float) + job.in_words * PANEL * sizeof(Word);
}

#ifndef __AVX512BF16__
constexpr int64_t CHUNK = 64;  // pairs that are gathered at a time: in the first cache
constexpr int64_t TILE = 256;  // output rows that are visited under all offsets: in the second

int64_t weight_gradient_sums(const WeightGradient& job) {
  return job.map.volume * up_to(job.in_channels, ROWS) * PANEL;
}

int64_t weight_gradient_scratch(const WeightGradient& job) {
  return CHUNK * (PANEL + up_to(job.in_channels, LANES)) * sizeof(float);
}

// A chunk of pairs is gathered into two small matrices; a block then multiplies them over the pairs.
void weight_gradient(const WeightGradient& job, int64_t first, int64_t last, int64_t column, float* sums,
                     char* scratch) {
  const int64_t in_rows = up_to(job.in_channels, ROWS), in_columns = up_to(job.in_channels, LANES);
  const int64_t left = job.out_channels - column, kept = left < PANEL ? left : PANEL;
  const int64_t columns = up_to(kept, LANES);
  float* gradients = reinterpret_cast<float*>(scratch);  // (CHUNK, columns)
  float* features = gradients + CHUNK * PANEL;           // (CHUNK, in_columns)
  Block* const multiply = block_of(ROWS, columns / LANES);

  for (int64_t i = 0; i < weight_gradient_sums(job); ++i) sums[i] = 0;
  for (; first < last; first += TILE) {
    const int64_t stop = first + TILE < last ? first + TILE : last;
    for (int64_t k = 0; k < job.map.volume; ++k) {
      const Range pairs = pairs_of(job.map, k, first, stop);
      for (int64_t begin = pairs.begin; begin < pairs.end; begin += CHUNK) {
        const int64_t rest = pairs.end - begin, count = rest < CHUNK ? rest : CHUNK;
        for (int64_t p = 0; p < count; ++p) {
          const int64_t input = job.map.inputs[begin + p], output = job.map.outputs[begin + p];
          copy(job.features + input * job.in_channels, job.in_channels, in_columns,
               features + p * in_columns);
          copy(job.gradient + output * job.out_channels + column, kept, columns, gradients + p * columns);
        }
        for (int64_t c = 0; c < in_rows; c += ROWS) {
          const float* in[ROWS];
          float* out[ROWS];
          for (int r = 0; r < ROWS; ++r) {
            in[r] = features + c + r;
            out[r] = sums + ((k * in_rows) + c + r) * PANEL;
          }
          multiply(in, in_columns, reinterpret_cast<const Vector*>(gradients), count, out);
        }
      }
    }
  }
}

void add_up(const WeightGradient& job, const float* sums, int64_t parts, int64_t step, int64_t k,
            int64_t column) {
  const int64_t left = job.out_channels - column, kept = left < PANEL ? left : PANEL;
  const float* from = sums + k * up_to(job.in_channels, ROWS) * PANEL;
  float* to = job.out + k * job.in_channels * job.out_channels + column;
  for (int64_t r = 0; r < job.in_channels; ++r, from += PANEL, to += job.out_channels) {
    for (int64_t c = 0; c < kept; ++c) to[c] = from[c];
    for (int64_t part = 1; part < parts; ++part)
      for (int64_t c = 0; c < kept; ++c) to[c] += from[part * step + c];
  }
}
#else
constexpr auto weight_gradient = nullptr;
constexpr auto weight_gradient_sums = nullptr;
constexpr auto weight_gradient_scratch = nullptr;
constexpr auto add_up = nullptr;
#endif

}  // namespace

const Kernels INSTRUCTIONS = {convolve_tile,        convolve_scratch,        weight_gradient,
                              weight_gradient_sums, weight_gradient_scratch, PANEL,
                              add_up};

}  // namespace ws3d
