// Sparse convolution for CPUs behind a plain C interface, so that it needs no headers of torch and
// fits every version of it: ws3d_ros/network/backends/native.py calls it with pointers.
//
// Work is cut into pieces that do not depend on the number of threads and write to places of their
// own, so sums are the same however many threads there are, and a thread that is held up takes
// fewer pieces.

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "kernel.h"

namespace ws3d {
namespace {

constexpr int64_t TILE_BYTES = 256 << 10;  // sums of a tile: they stay in L2 across the kernel's offsets
constexpr int64_t PARTS = 16, PART_PAIRS = 256;  // of a weight gradient: at most; pairs an offset, at least
constexpr int64_t CHUNKS = 8;  // of the rows, when neighbours are looked for
constexpr double SMALL = 4e6;  // multiplications that are not worth waking a thread: some 50 µs

enum Instructions { PORTABLE, AVX2, AVX512, AVX512_BF16 };

int best_instructions() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512f")) return AVX512_BF16;
  if (__builtin_cpu_supports("avx512f")) return AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
  return PORTABLE;
}

const Kernels& kernels([[maybe_unused]] int instructions) {
#if defined(__x86_64__)
  if (instructions == AVX512_BF16) return avx512_bf16;
  if (instructions == AVX512) return avx512;
  if (instructions == AVX2) return avx2;
#endif
  return portable;
}

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};

std::unique_ptr<char, Free> scratch(int64_t bytes) {
  return std::unique_ptr<char, Free>(static_cast<char*>(std::aligned_alloc(64, (bytes / 64 + 1) * 64)));
}

// Runs body() in so many threads at once. The threads are those of the OpenMP runtime that torch has
// loaded, if it has: a second pool would have to share the cores with the first one's waiting threads.
template <class Body>
void in_threads(int threads, const Body& body) {
  if (threads <= 1) return body();
  using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
  static const auto parallel = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  if (parallel) {
    parallel([](void* it) { (*static_cast<const Body*>(it))(); }, const_cast<Body*>(&body), threads, 0);
    return;
  }
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(body);
  body();
  for (auto& other : others) other.join();
}

// piece(i, scratch) for every i below count, by whichever thread is free. False: no thread got memory.
template <class Piece>
bool share(int threads, int64_t count, int64_t scratch_bytes, const Piece& piece) {
  std::atomic<int64_t> next{0};
  in_threads(std::min<int64_t>(threads, count), [&] {
    const auto memory = scratch(scratch_bytes);
    if (!memory) return;
    for (int64_t i; (i = next++) < count;) piece(i, memory.get());
  });
  return next >= count;
}

// Half of the columns of a kernel: cells with one x and y, from `step` on upwards in the numbering of
// the cells, `depth` of them.
struct Columns {
  const int64_t *keys, rows, *steps, *depths, count, size;

  // visit(j, row, neighbour) for every row of a chunk that has a neighbour j cells up column c. As keys
  // ascend, so do the columns of consecutive rows: they are walked, not searched.
  template <class Visit>
  void walk(int64_t c, int64_t chunk, const Visit& visit) const {
    const int64_t first = rows * chunk / CHUNKS, last = rows * (chunk + 1) / CHUNKS;
    if (first == last) return;
    int64_t at = std::lower_bound(keys, keys + rows, keys[first] + steps[c]) - keys;
    for (int64_t row = first; row < last; ++row) {
      const int64_t wanted = keys[row] + steps[c];
      while (at < rows && keys[at] < wanted) ++at;
      for (int64_t j = 0, up = at; j < depths[c] && up < rows; ++j)
        if (keys[up] == wanted + j) visit(j, row, up++);
    }
  }
};

}  // namespace
}  // namespace ws3d

extern "C" {

// Raised with every change of the functions below.
int ws3d_version() { return 3; }

// 0 portable, 1 AVX2, 2 AVX-512, 3 AVX-512 with bfloat16.
int ws3d_best_instructions() { return ws3d::best_instructions(); }

// out[o] = Σ over pairs (i, o) of offset k: features[i] @ weight[k]. False: no memory.
bool ws3d_convolve(int instructions, int threads, const int64_t* inputs, const int64_t* outputs,
                   const int64_t* starts, int64_t volume, int64_t n_outputs, const void* features,
                   const void* weight, void* out, int64_t in_words, int64_t out_channels) {
  const auto& kernels = ws3d::kernels(instructions);
  const ws3d::Convolution job{
      {inputs, outputs, starts, volume}, features, weight, out, in_words, out_channels};
  const int64_t fitting = ws3d::TILE_BYTES / (sizeof(float) * out_channels);
  // Small maps are cut finer, so that every thread has something to do.
  const int64_t rows = std::clamp<int64_t>(std::min(fitting, n_outputs / 16), 64, 2048);
  if (double(starts[volume]) * in_words * out_channels < ws3d::SMALL) threads = 1;
  return ws3d::share(threads, (n_outputs + rows - 1) / rows, kernels.convolve_scratch(job, rows),
                     [&](int64_t tile, char* scratch) {
                       kernels.convolve(job, tile * rows, std::min((tile + 1) * rows, n_outputs), scratch);
                     });
}

// out[k] = Σ over pairs (i, o) of offset k: features[i]^T gradient[o]. Float only. False: no memory.
bool ws3d_weight_gradient(int instructions, int threads, const int64_t* inputs, const int64_t* outputs,
                          const int64_t* starts, int64_t volume, int64_t n_outputs, const float* features,
                          const float* gradient, float* out, int64_t in_channels, int64_t out_channels) {
  const auto& kernels = ws3d::kernels(instructions);
  const ws3d::WeightGradient job{
      {inputs, outputs, starts, volume}, features, gradient, out, in_channels, out_channels};
  const int64_t columns = kernels.gradient_columns, panels = (out_channels + columns - 1) / columns;
  // Parts of the rows are summed apart and then added up, in order.
  const int64_t parts = std::clamp<int64_t>(starts[volume] / volume / ws3d::PART_PAIRS, 1, ws3d::PARTS);
  const int64_t step = kernels.weight_gradient_sums(job);
  const auto memory = ws3d::scratch(parts * panels * step * sizeof(float));
  if (!memory) return false;
  float* const sums = reinterpret_cast<float*>(memory.get());
  if (double(starts[volume]) * in_channels * out_channels < ws3d::SMALL) threads = 1;
  return ws3d::share(threads, parts * panels, kernels.weight_gradient_scratch(job),
                     [&](int64_t i, char* scratch) {
                       const int64_t panel = i / parts, part = i % parts;
                       kernels.weight_gradient(job, n_outputs * part / parts, n_outputs * (part + 1) / parts,
                                               panel * columns, sums + i * step, scratch);
                     }) &&
         ws3d::share(threads, panels * volume, 0, [&](int64_t i, char*) {
           const int64_t panel = i / volume, k = i % volume;
           kernels.add_up(job, sums + panel * parts * step, parts, step, k, panel * columns);
         });
}

// How many pieces the rows are cut into below.
int64_t ws3d_chunks() { return ws3d::CHUNKS; }

// counts[c, j, chunk]: rows of the chunk that have a neighbour j cells up column c. `size`: of j.
void ws3d_count_neighbours(int threads, const int64_t* keys, int64_t rows, const int64_t* steps,
                           const int64_t* depths, int64_t columns, int64_t size, int64_t* counts) {
  const ws3d::Columns job{keys, rows, steps, depths, columns, size};
  ws3d::share(threads, columns * ws3d::CHUNKS, 0, [&](int64_t i, char*) {
    const int64_t c = i / ws3d::CHUNKS, chunk = i % ws3d::CHUNKS;
    job.walk(c, chunk, [&](int64_t j, int64_t, int64_t) { ++counts[(c * size + j) * ws3d::CHUNKS + chunk]; });
  });
}

// The pairs themselves, from places[c, j, chunk] on, and from mirrored[c, j, chunk] on the other way round.
void ws3d_write_neighbours(int threads, const int64_t* keys, int64_t rows, const int64_t* steps,
                           const int64_t* depths, int64_t columns, int64_t size, int64_t* places,
                           int64_t* mirrored, int64_t* inputs, int64_t* outputs) {
  const ws3d::Columns job{keys, rows, steps, depths, columns, size};
  ws3d::share(threads, columns * ws3d::CHUNKS, 0, [&](int64_t i, char*) {
    const int64_t c = i / ws3d::CHUNKS, chunk = i % ws3d::CHUNKS;
    job.walk(c, chunk, [&](int64_t j, int64_t row, int64_t neighbour) {
      const int64_t at = (c * size + j) * ws3d::CHUNKS + chunk;
      const int64_t one = places[at]++, other = mirrored[at]++;
      inputs[one] = outputs[other] = neighbour;
      outputs[one] = inputs[other] = row;
    });
  });
}

}  // extern "C"
