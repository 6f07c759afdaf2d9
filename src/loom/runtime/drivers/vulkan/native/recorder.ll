; Records a table of dispatches into a command buffer, with no Python in between.
;
; The rows are those of table.py. Pipelines and descriptor sets are bound where they change; what is pushed
; is pushed every time. Flags: 1 a barrier comes first, 2 the group counts are read from a buffer, 4 no group.
; Functions: vkCmdBindPipeline, vkCmdBindDescriptorSets, vkCmdPushConstants, vkCmdDispatch,
; vkCmdDispatchIndirect, vkCmdPipelineBarrier, as the device gives them.
;
; Invariant: what a row means does not depend on the rows before it, but for what they bind.

%Row = type { i64, i64, i64, i64, i32, i32, [3 x i32], i32, i64, i64 }
;             pipeline layout set words nbytes flags groups unused counts offset

define void @loom_record(ptr %functions, ptr %commands, ptr %rows, i64 %count, ptr %barrier, i32 %stages) {
entry:
  %bind.pipeline = load ptr, ptr %functions
  %at.1 = getelementptr ptr, ptr %functions, i64 1
  %bind.set = load ptr, ptr %at.1
  %at.2 = getelementptr ptr, ptr %functions, i64 2
  %push = load ptr, ptr %at.2
  %at.3 = getelementptr ptr, ptr %functions, i64 3
  %dispatch = load ptr, ptr %at.3
  %at.4 = getelementptr ptr, ptr %functions, i64 4
  %dispatch.indirect = load ptr, ptr %at.4
  %at.5 = getelementptr ptr, ptr %functions, i64 5
  %pipeline.barrier = load ptr, ptr %at.5
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %done ]
  %bound.pipeline = phi i64 [ 0, %entry ], [ %pipeline, %done ]
  %bound.layout = phi i64 [ 0, %entry ], [ %layout, %done ]
  %bound.set = phi i64 [ 0, %entry ], [ %set, %done ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %row, label %out
row:
  %row.at = getelementptr %Row, ptr %rows, i64 %i
  %layout.field = getelementptr %Row, ptr %row.at, i64 0, i32 1
  %set.field = getelementptr %Row, ptr %row.at, i64 0, i32 2
  %words.field = getelementptr %Row, ptr %row.at, i64 0, i32 3
  %nbytes.field = getelementptr %Row, ptr %row.at, i64 0, i32 4
  %flags.field = getelementptr %Row, ptr %row.at, i64 0, i32 5
  %pipeline = load i64, ptr %row.at
  %layout = load i64, ptr %layout.field
  %set = load i64, ptr %set.field
  %words = load ptr, ptr %words.field
  %nbytes = load i32, ptr %nbytes.field
  %flags = load i32, ptr %flags.field
  %waits.bit = and i32 %flags, 1
  %waits = icmp ne i32 %waits.bit, 0
  br i1 %waits, label %wait, label %pipelines
wait:
  call void %pipeline.barrier(ptr %commands, i32 %stages, i32 %stages, i32 0, i32 1, ptr %barrier, i32 0, ptr null, i32 0, ptr null)
  br label %pipelines
pipelines:
  %same.pipeline = icmp eq i64 %pipeline, %bound.pipeline
  br i1 %same.pipeline, label %sets, label %bind.one
bind.one:
  call void %bind.pipeline(ptr %commands, i32 1, i64 %pipeline)
  br label %sets
sets:
  %same.layout = icmp eq i64 %layout, %bound.layout
  %same.set = icmp eq i64 %set, %bound.set
  %same = and i1 %same.layout, %same.set
  br i1 %same, label %pushing, label %bind.other
bind.other:
  call void %bind.set(ptr %commands, i32 1, i64 %layout, i32 0, i32 1, ptr %set.field, i32 0, ptr null)
  br label %pushing
pushing:
  call void %push(ptr %commands, i64 %layout, i32 32, i32 0, i32 %nbytes, ptr %words)
  %empty.bit = and i32 %flags, 4
  %empty = icmp ne i32 %empty.bit, 0
  br i1 %empty, label %done, label %choose
choose:
  %indirect.bit = and i32 %flags, 2
  %indirect = icmp ne i32 %indirect.bit, 0
  br i1 %indirect, label %counted, label %direct
counted:
  %counts.field = getelementptr %Row, ptr %row.at, i64 0, i32 8
  %offset.field = getelementptr %Row, ptr %row.at, i64 0, i32 9
  %counts = load i64, ptr %counts.field
  %offset = load i64, ptr %offset.field
  call void %dispatch.indirect(ptr %commands, i64 %counts, i64 %offset)
  br label %done
direct:
  %x.field = getelementptr %Row, ptr %row.at, i64 0, i32 6, i64 0
  %y.field = getelementptr %Row, ptr %row.at, i64 0, i32 6, i64 1
  %z.field = getelementptr %Row, ptr %row.at, i64 0, i32 6, i64 2
  %x = load i32, ptr %x.field
  %y = load i32, ptr %y.field
  %z = load i32, ptr %z.field
  call void %dispatch(ptr %commands, i32 %x, i32 %y, i32 %z)
  br label %done
done:
  %next = add i64 %i, 1
  br label %head
out:
  ret void
}
