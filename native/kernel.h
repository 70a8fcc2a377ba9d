// What the entry points (sparse.cpp) ask of the kernels (kernel.cpp, compiled once per instruction set).
#pragma once

#include <cstdint>

namespace ws3d {

// Pairs of an input row and an output row, sorted by kernel offset, then by output row; within an
// offset rows are unique. Those of offset k are starts[k] to starts[k + 1].
struct KernelMap {
  const int64_t* inputs;
  const int64_t* outputs;
  const int64_t* starts;
  int64_t volume;
};

// A word is one float, or two bfloat16 of neighbouring channels.
struct Convolution {
  KernelMap map;
  const void* features;  // (rows, in_words) words
  const void* weight;    // (volume, in_words, out_channels) words
  void* out;             // (rows, out_channels) float or bfloat16
  int64_t in_words, out_channels;
};

struct WeightGradient {
  KernelMap map;
  const float* features;  // (rows, in_channels)
  const float* gradient;  // (rows, out_channels)
  float* out;             // (volume, in_channels, out_channels)
  int64_t in_channels, out_channels;
};

// One instruction set. Each call does one independent piece of work, in a scratch of its own that
// begins at a multiple of 64 bytes and holds what the function beside it says.
struct Kernels {
  // Output rows first to last (exclusive).
  void (*convolve)(const Convolution&, int64_t first, int64_t last, char* scratch);
  int64_t (*convolve_scratch)(const Convolution&, int64_t rows);

  // The weight gradient from output rows first to last, for `gradient_columns` columns from `column`,
  // or as many as there are. `sums`: so many floats, in an order of its own.
  void (*weight_gradient)(const WeightGradient&, int64_t first, int64_t last, int64_t column, float* sums,
                          char* scratch);
  int64_t (*weight_gradient_sums)(const WeightGradient&);
  int64_t (*weight_gradient_scratch)(const WeightGradient&);
  int64_t gradient_columns;
  // The total of `parts` sums, `step` floats apart, of offset k.
  void (*add_up)(const WeightGradient&, const float* sums, int64_t parts, int64_t step, int64_t k,
                 int64_t column);
};

extern const Kernels portable, avx2, avx512, avx512_bf16;

}  // namespace ws3d
