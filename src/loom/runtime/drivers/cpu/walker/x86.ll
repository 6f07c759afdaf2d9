
; ---- x86 ----
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal void @cpu_relax() { call void @llvm.x86.sse2.pause() ret void }
define internal i64 @fp_enter() {            ; 0x1f80: round to nearest, subnormals kept, no traps
  %cell = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %cell)
  %old = load i32, ptr %cell
  store i32 8064, ptr %cell
  call void @llvm.x86.sse.ldmxcsr(ptr %cell)
  %wide = zext i32 %old to i64
  ret i64 %wide
}
define internal void @fp_leave(i64 %old) {
  %cell = alloca i32
  %narrow = trunc i64 %old to i32
  store i32 %narrow, ptr %cell
  call void @llvm.x86.sse.ldmxcsr(ptr %cell)
  ret void
}
