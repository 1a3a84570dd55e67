from libc.stdint cimport int64_t, uint16_t

from fastconv.backends.cython.strides cimport Strides

cdef extern from "simd/block.h":
    enum:
        STORING
    ctypedef struct Geometry:
        Py_ssize_t IC, IH, IW, OC, OH, OW
        Py_ssize_t KH, KW, SH, SW, DH, DW, PT, PL
        Py_ssize_t x_c, x_h, x_w
        Py_ssize_t out_c, out_h, out_w
    ctypedef struct Rectangle:
        Py_ssize_t oh, ow, rows, cols
    ctypedef struct Place:
        Py_ssize_t pixel, weight
    ctypedef struct Region:
        Rectangle at
        Py_ssize_t taps
        const Place* places
    ctypedef struct Gathering:
        Py_ssize_t step, pitch, plane, rows, cols, slots_h, slots_w
    ctypedef void (*Gather)(const Geometry* geometry, const Gathering* to, const void* x,
                            const Rectangle* at, Py_ssize_t first, Py_ssize_t terms,
                            void* pixels) noexcept nogil
    ctypedef struct Block:
        const Geometry* geometry
        Rectangle at
        bint pixel_vectors, in_place, past
        int activation
        double slope
        Py_ssize_t first, terms
        Py_ssize_t channels
        const void* pixels
        Py_ssize_t step, pitch
        const Py_ssize_t* offsets
        Py_ssize_t group_pixels
        const Region* regions
        Py_ssize_t region_count
        Py_ssize_t pass_terms "pass", pass_pixels
        const void* weights
        Py_ssize_t panel_size
        const void* bias
        void* sums
        void* dense
        void* out

cdef extern from "simd/planes.h":
    ctypedef struct Planes:
        Geometry geometry
        Py_ssize_t N, G, blocks, chunks
        Py_ssize_t x_n, out_n
        int activation
        double slope
        const void* x
        const void* weights
        const void* bias
        const void* zeros
        void* out
    ctypedef void (*PlanesRun)(const Planes* planes, Py_ssize_t begin, Py_ssize_t end,
                               void* scratch) noexcept nogil

cdef extern from "simd/windows.h":
    ctypedef struct Windows:
        const int64_t* first
        const int64_t* stop
        const int64_t* count
        Py_ssize_t step
        bint even
        Py_ssize_t before, taps, stride
    ctypedef struct Pooling:
        int mode
        double norm
        int64_t divisor
        Py_ssize_t C, OH, OW, height, width
        bint wide_index
        Windows rows, columns
        Strides x, out, indices
        Py_ssize_t row_cells, channel_parts, block
    ctypedef void (*Pool)(const Pooling* pooling, const void* x, void* out, int64_t* indices,
                          Py_ssize_t begin, Py_ssize_t end, void* row) noexcept nogil

cdef extern from "simd/winograd.h":
    ctypedef struct Winograd:
        Geometry geometry
        Py_ssize_t m, r
        const double* G
        bint transformed
        const Py_ssize_t* given
        Py_ssize_t chunk
        Py_ssize_t x_n, out_n
        Py_ssize_t tile_pitch, values_pitch, products_pitch
        bint pooled
        int activation
        double slope
    ctypedef struct TileBlock:
        Py_ssize_t picture, pictures
        Py_ssize_t row, rows, col, cols

cdef extern from "simd/factors.h":
    enum:
        FACTOR_ROWS
    ctypedef struct Factors:
        Geometry geometry
        Py_ssize_t rank, band, cols, pitch, width
        const Py_ssize_t* down
        const Py_ssize_t* patch_down
        const Py_ssize_t* across
        int activation
        double slope
    ctypedef void (*Separable)(const Factors* f, const void* x, const void* factors,
                               const void* bias, void* out, Py_ssize_t oh, Py_ssize_t rows,
                               Py_ssize_t ow, Py_ssize_t cols, void* scratch) noexcept nogil

cdef extern from "simd/tap_groups.h":
    ctypedef struct TapGroups:
        Geometry geometry
        Py_ssize_t down, across, tiles, cols
        Py_ssize_t values_row, values_plane, products_row, products_plane
        int activation
        double slope
    ctypedef void (*TapGroupsIn)(const TapGroups* c, const void* x, Py_ssize_t tile,
                                 Py_ssize_t tiles, Py_ssize_t col, Py_ssize_t cols, void* values,
                                 void* lines) noexcept nogil
    ctypedef void (*TapGroupsOut)(const TapGroups* c, const void* products, const void* bias,
                                  Py_ssize_t tile, Py_ssize_t tiles, Py_ssize_t col,
                                  Py_ssize_t cols, void* out, void* lines) noexcept nogil

cdef extern from "simd/tile_rows.h":
    ctypedef struct TileRows:
        Geometry geometry
        Py_ssize_t vectors, lanes
        bint past, pooled, along_channels
        int activation
        double slope
    ctypedef Py_ssize_t (*TileRowsScratch)(const TileRows* t) noexcept nogil
    ctypedef void (*TileRowsRun)(const TileRows* t, const void* x, const void* weights,
                                 const void* bias, void* out, Py_ssize_t row, Py_ssize_t rows,
                                 Py_ssize_t first, Py_ssize_t vectors,
                                 void* scratch) noexcept nogil

cdef extern from "simd/table.h":
    enum:
        FAR_BYTES
    ctypedef struct Convolution:
        Gather gather_planes, gather_pixels, gather_columns
        bint (*pack_panel)(const Geometry* geometry, Py_ssize_t channels, Py_ssize_t width,
                           const void* w, const Py_ssize_t* strides, void* panel) noexcept nogil
        void (*product)(const Block* block) noexcept nogil
    ctypedef struct Elementwise:
        void (*activation)(int kind, double slope, const void* x, Py_ssize_t x_stride, void* out,
                           Py_ssize_t out_stride, Py_ssize_t n) noexcept nogil
    ctypedef struct PoolKernels:
        Pool planes, channels
    ctypedef struct WinogradKernels:
        int widest
        void (*pack)(const Winograd* winograd, Py_ssize_t channels, Py_ssize_t vectors,
                     const void* weights, const Py_ssize_t* strides, void* panel) noexcept nogil
        void (*weights)(const Winograd* winograd, Py_ssize_t chunk, Py_ssize_t vectors,
                        const void* taps, void* transformed) noexcept nogil
        void (*input)(const Winograd* winograd, const TileBlock* block, Py_ssize_t slab,
                      const void* x, void* values, void* scratch) noexcept nogil
        void (*output)(const Winograd* winograd, const TileBlock* block, Py_ssize_t first_vector,
                       Py_ssize_t vectors, const void* values, const void* panel,
                       const void* bias, void* out, void* scratch) noexcept nogil
    ctypedef struct PlaneKernels:
        int together
        Py_ssize_t (*zero_cells)(const Geometry* geometry) noexcept nogil
        Py_ssize_t (*weight_cells)(const Geometry* geometry) noexcept nogil
        Py_ssize_t (*scratch)(const Planes* planes) noexcept nogil
        void (*pack)(const Geometry* geometry, Py_ssize_t blocks, const void* w,
                     const Py_ssize_t* strides, void* packed) noexcept nogil
        PlanesRun run
    ctypedef struct Factoring:
        Separable separable
    ctypedef struct TapGroupKernels:
        int lines
        TapGroupsIn input
        TapGroupsOut output
    ctypedef struct TileRowKernels:
        TileRowsScratch scratch
        TileRowsRun run
    ctypedef struct HalfKernels:
        void (*widen)(int brain, const uint16_t* x, float* out, Py_ssize_t n) noexcept nogil
        void (*narrow)(int brain, const float* x, uint16_t* out, Py_ssize_t n) noexcept nogil
    ctypedef struct Kernels:
        int itemsize
        int width
        int panel
        int dots
        int dense
        int near_terms, near_cells
        int pass_terms "pass"
        const Convolution* convolution
        const Elementwise* elementwise
        const PoolKernels* pooling
        const WinogradKernels* winograd
        const PlaneKernels* planar
        const PlaneKernels* depthwise
        const PlaneKernels* interleaved
        const Factoring* factoring
        const TapGroupKernels* winograd1d
        const TapGroupKernels* winograd2d
        const TileRowKernels* tile_rows
        const HalfKernels* halves

# The kernels for "float32" or "float64"; a ValueError if FASTCONV_ISA asks for what cannot be.
cdef const Kernels* kernels(str dtype) except NULL

# The number of threads for a parallel loop: `threads`, or 1 where one must not be started.
cdef int team(int threads) noexcept nogil
