"""Matrix multiplication: every kernel gives the bits of one order (docs/numerics.md, section 2), whatever the device.

Layer: kernels. ``schedules.matmul`` (``record_matmul``) and ``schedules.products`` (windows of images and other views)
choose by precision, shape and device:

| kernel | runs for |
| --- | --- |
| ``direct.multiply_direct``, ``multiply_rows`` | CPUs: small results, and few rows or columns; nothing is packed |
| ``direct.multiply_thin`` | GPUs: few rows; blocks of k side by side |
| ``packed.multiply_tiles`` | CPUs: all else, of operands that ``pack`` packs |
| .. ``left="rows"``, ``"columns"`` | whole tiles of factors near enough for a cache: the left operand is not packed |
| .. ``left="far"`` | x12 where machines fuse, if ``far`` finds no factor whose products may be rounded |
| .. ``left="gathered"`` | the left operand is read through tables: windows of images in one piece |
| .. ``stretch=True`` | views, a stretch of rows, columns and k at a time, which ``views`` packs |
| .. whole numbers (``arithmetic.scaled``) | q8, q12, q24, of whole numbers and scales that ``digits`` makes |
| ``threads.multiply_slabs`` | GPUs: all else, where elements lie; ``grids`` cuts, ``slabs`` reads, ``walking`` sums |
| .. ``looks=True`` | f16, bf16, x12: f32 factors that ``far`` makes, fused if all products are exact |
| .. ``views`` | operands read through tables, and what they become in an order-free precision |
| .. whole numbers (``arithmetic.scaled``) | q8, q12, q24 where there is no unit for tiles of bytes |
| ``units.multiply_planes`` | q8, q12, q24 on GPUs with units for tiles of bytes, of ``planes`` of digits |
| ``wide.multiply_panels`` | the same on GPUs with wide products in shared memory, of ``panels`` |
| ``integers.multiply_integers`` | layers of 8-bit integers, CPUs |
| ``gradient.image_gradient`` | GPUs: the gradient of images, gathered from that of their windows |
| ``threads.fold_blocks``, ``direct.finish_chunks`` | after all of these: add up blocks, then chunks, and convert |
"""
