mod forms;
mod robust;
mod rules;
