; Tensors that were recorded and have no elements: one operation of tensors that have. (door.ll has the layouts.)

; Whether slots of an object are what they must be: (place, object, whether it is to be that one).
define internal i1 @holds(ptr %conditions, i64 %count, ptr %value) {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %good ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %condition, label %yes
condition:
  %first = mul i64 %i, 3
  %second = add i64 %first, 1
  %third = add i64 %first, 2
  %offset = call i64 @word(ptr %conditions, i64 %first)
  %object = call ptr @at(ptr %conditions, i64 %second)
  %sense = call i64 @word(ptr %conditions, i64 %third)
  %found = call ptr @field(ptr %value, i64 %offset)
  %same = icmp eq ptr %found, %object
  %wanted = icmp ne i64 %sense, 0
  %met = icmp eq i1 %same, %wanted
  %there = icmp ne ptr %found, null
  %fine = and i1 %met, %there
  br i1 %fine, label %good, label %no
good:
  %i1 = add i64 %i, 1
  br label %next
yes:
  ret i1 1
no:
  ret i1 0
}

define internal ptr @field(ptr %object, i64 %offset) alwaysinline {
  %place = getelementptr i8, ptr %object, i64 %offset
  %found = load ptr, ptr %place
  ret ptr %found
}

; The only item of a tuple, null of anything else.
define internal ptr @only(ptr %tuple) {
entry:
  %there = icmp ne ptr %tuple, null
  br i1 %there, label %look, label %no
look:
  %right = call i1 @is_a(ptr %tuple, i64 39)
  br i1 %right, label %count, label %no
count:
  %size.of = call ptr @fact(i64 36)
  %size = call i64 %size.of(ptr %tuple)
  %one = icmp eq i64 %size, 1
  br i1 %one, label %yes, label %no
yes:
  %item.of = call ptr @fact(i64 37)
  %item = call ptr %item.of(ptr %tuple, i64 0)
  ret ptr %item
no:
  ret ptr null
}

; Whether a tuple has these items, by identity.
define internal i1 @is_tuple_of(ptr %tuple, i64 %count, ptr %items) {
entry:
  %there = icmp ne ptr %tuple, null
  br i1 %there, label %look, label %no
look:
  %right = call i1 @is_a(ptr %tuple, i64 39)
  br i1 %right, label %measure, label %no
measure:
  %size.of = call ptr @fact(i64 36)
  %item.of = call ptr @fact(i64 37)
  %size = call i64 %size.of(ptr %tuple)
  %alike = icmp eq i64 %size, %count
  br i1 %alike, label %next, label %no
next:
  %i = phi i64 [ 0, %measure ], [ %i1, %same ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %compare, label %yes
compare:
  %item = call ptr %item.of(ptr %tuple, i64 %i)
  %wanted = call ptr @at(ptr %items, i64 %i)
  %equal = icmp eq ptr %item, %wanted
  br i1 %equal, label %same, label %no
same:
  %i1 = add i64 %i, 1
  br label %next
yes:
  ret i1 1
no:
  ret i1 0
}

; A tensor without elements whose operation, or that of which it is another shape, is known. Returns the words of the key:
; its lengths and those of its inputs; -1 if something differs.
define internal i64 @node(ptr %argument, ptr %given, ptr %key, ptr %ranges) {
entry:
  %row = call ptr @at(ptr %argument, i64 2)
  %op.place = call i64 @word(ptr %row, i64 0)
  %inputs.place = call i64 @word(ptr %row, i64 1)
  %attributes.place = call i64 @word(ptr %row, i64 2)
  %shape.place = call i64 @word(ptr %row, i64 3)
  %dtype.place = call i64 @word(ptr %row, i64 4)
  %data.place = call i64 @word(ptr %row, i64 5)
  %reshape = call ptr @at(ptr %row, i64 6)
  %conditions = call ptr @at(ptr %row, i64 7)
  %condition.count = call i64 @word(ptr %row, i64 8)
  br label %descend
descend:
  %value = phi ptr [ %given, %entry ], [ %behind, %further ]
  %steps = phi i64 [ 0, %entry ], [ %steps1, %further ]
  %type = call ptr @at(ptr %value, i64 1)
  %type.wanted = call ptr @at(ptr %argument, i64 1)
  %type.same = icmp eq ptr %type, %type.wanted
  br i1 %type.same, label %look, label %no
look:
  %good = call i1 @holds(ptr %conditions, i64 %condition.count, ptr %value)
  br i1 %good, label %elements, label %no
elements:
  %data = call ptr @field(ptr %value, i64 %data.place)
  %lacking = icmp ne ptr %data, null
  %none = call i1 @is_none(ptr %data)
  %unknown = and i1 %lacking, %none
  br i1 %unknown, label %operation, label %no
operation:
  %op = call ptr @field(ptr %value, i64 %op.place)
  %inputs = call ptr @field(ptr %value, i64 %inputs.place)
  %reshaped = icmp eq ptr %op, %reshape
  br i1 %reshaped, label %below, label %compare
below:
  %behind = call ptr @only(ptr %inputs)
  %steps1 = add i64 %steps, 1
  %is.some = icmp ne ptr %behind, null
  %is.near = icmp ult i64 %steps1, 8
  %go.on = and i1 %is.some, %is.near
  br i1 %go.on, label %further, label %no
further:
  br label %descend
compare:
  %op.wanted = call ptr @at(ptr %row, i64 9)
  %op.same = icmp eq ptr %op, %op.wanted
  %dtype = call ptr @field(ptr %value, i64 %dtype.place)
  %dtype.wanted = call ptr @at(ptr %row, i64 10)
  %dtype.same = icmp eq ptr %dtype, %dtype.wanted
  %both = and i1 %op.same, %dtype.same
  br i1 %both, label %attributes, label %no
attributes:
  %tuple = call ptr @field(ptr %value, i64 %attributes.place)
  %attribute.count = call i64 @word(ptr %row, i64 11)
  %attribute.items = call ptr @at(ptr %row, i64 12)
  %alike = call i1 @is_tuple_of(ptr %tuple, i64 %attribute.count, ptr %attribute.items)
  br i1 %alike, label %shape, label %no
shape:
  %lengths = call ptr @field(ptr %value, i64 %shape.place)
  %axes = call i64 @word(ptr %row, i64 15)
  %measured = call i1 @lengths(ptr %lengths, i64 %axes, ptr %key)
  br i1 %measured, label %operands, label %no
operands:
  %input.count = call i64 @word(ptr %row, i64 13)
  %input.rows = call ptr @at(ptr %row, i64 14)
  %size.of = call ptr @fact(i64 36)
  %item.of = call ptr @fact(i64 37)
  %inputs.there = icmp ne ptr %inputs, null
  br i1 %inputs.there, label %inputs.kind, label %no
inputs.kind:
  %inputs.right = call i1 @is_a(ptr %inputs, i64 39)
  br i1 %inputs.right, label %inputs.count, label %no
inputs.count:
  %have = call i64 %size.of(ptr %inputs)
  %as.many = icmp eq i64 %have, %input.count
  br i1 %as.many, label %next, label %no
next:
  %i = phi i64 [ 0, %inputs.count ], [ %i1, %taken ]
  %filled = phi i64 [ %axes, %inputs.count ], [ %filled1, %taken ]
  %more = icmp slt i64 %i, %input.count
  br i1 %more, label %input, label %yes
input:
  %operand = call ptr %item.of(ptr %inputs, i64 %i)
  %offset = mul i64 %i, 10
  %what = getelementptr i64, ptr %input.rows, i64 %offset
  %operand.type = call ptr @at(ptr %operand, i64 1)
  %operand.wanted = call ptr @at(ptr %what, i64 1)
  %operand.same = icmp eq ptr %operand.type, %operand.wanted
  br i1 %operand.same, label %own, label %no
own:
  %here = getelementptr i64, ptr %key, i64 %filled
  %place = mul i64 %i, 3
  %range = getelementptr i64, ptr %ranges, i64 %place
  %own.good = call i1 @own(ptr %what, ptr %operand, ptr %here, ptr %range)
  br i1 %own.good, label %taken, label %no
taken:
  %its.axes = call i64 @word(ptr %what, i64 4)
  %filled1 = add i64 %filled, %its.axes
  %i1 = add i64 %i, 1
  br label %next
yes:
  ret i64 %filled
no:
  ret i64 -1
}
