
; ---- AArch64 ----
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal void @cpu_relax() { call void @llvm.aarch64.hint(i32 1) ret void }
define internal i64 @fp_enter() {            ; 0: round to nearest, subnormals kept, no traps
  %old = call i64 @llvm.aarch64.get.fpcr()
  call void @llvm.aarch64.set.fpcr(i64 0)
  ret i64 %old
}
define internal void @fp_leave(i64 %old) { call void @llvm.aarch64.set.fpcr(i64 %old) ret void }
